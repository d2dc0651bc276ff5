"""Small images for the page, as data inside it: nothing is fetched."""

import base64
import io
from functools import lru_cache
from pathlib import Path

from PIL import Image

from attribench.common.errors import InputError
from attribench.decode.eight_bits import UnreadableImage
from attribench.decode.reading import Reading

_SIDE = 320  # pixels: what is shown large is 190 wide, on screens with up to two pixels for one
_KEPT = 2000  # about 40 MB


@lru_cache(_KEPT)
def thumbnail(path: Path | str, reading: Reading) -> str | None:
    """Return the image at `path` as a data: address, at most 320 pixels wide and high; None if there is no such image."""
    try:
        with reading.image(path, (_SIDE, _SIDE)) as image:
            small = image.copy()
    except (InputError, UnreadableImage):
        return None
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
