"""Images that tests decode."""

import numpy as np
from PIL import Image


def picture(width=37, height=23, seed=0):
    """Return an image of random pixels."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def rotated(image, orientation=6):
    """Return what `Image.save` takes to note in the file that the image is to be shown turned."""
    exif = image.getexif()
    exif[0x0112] = orientation
    return {"exif": exif.tobytes()}
