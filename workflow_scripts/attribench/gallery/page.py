"""The gallery's files: the data of each split as a script, and the page that shows them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attribench.common.errors import InputError
from attribench.common.files import write_text

# Browsers load scripts from disk, but let no page fetch other files. So a split's data is a call of the page's function.
_CALL, _END = "addSplit(", ");\n"
_SOURCE = Path(__file__).parent / "page_files"
# The page's files, below the gallery's folder; the first one is opened.
PAGE_FILES = ("index.html", "gallery.css", "view.js", "tiles.js", "gallery.js")
_RUN = "{{run}}"  # stands in index.html for what the page knows before it loads a split


def page_texts() -> dict[str, str]:
    """Return the page's files as they are in this package, by name."""
    return {name: (_SOURCE / name).read_text(encoding="utf-8") for name in PAGE_FILES}


def write_split(path: Path | str, data: Mapping[str, Any], images: Mapping[str, str]) -> None:
    """Write what `data.split_data` returned as a script, atomically.

    images: in the order of their numbers, the path of each and its thumbnail's name ("": it has none).
    """
    whole = {**data, "images": [list(image) for image in images.items()]}
    write_text(path, f"{_CALL}{json.dumps(whole, separators=(',', ':'), allow_nan=False)}{_END}")


def read_split(path: Path | str) -> dict[str, Any]:
    """Return the data that `write_split` wrote. Raises InputError for another file."""
    text = Path(path).read_text(encoding="utf-8")
    try:
        return json.loads(text.removeprefix(_CALL).removesuffix(_END))
    except ValueError as error:
        raise InputError(f"{path}: not the data of a gallery ({error}); delete it and run again: rm {path}") from error


def write_page(folder: Path | str, benchmark: str, splits: Sequence[str]) -> None:
    """Write the page into the gallery's `folder`; `splits` are the names of those whose data lie in folders beside it."""
    run = {"benchmark": benchmark, "splits": list(splits)}
    # "<" as it would end the script that holds it.
    text = json.dumps(run).replace("<", r"\u003c")
    for name, content in page_texts().items():
        write_text(Path(folder) / name, content.replace(_RUN, text))
