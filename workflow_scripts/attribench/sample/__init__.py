"""The embedded `sample` benchmark: customization in miniature, drawn with planted ground truth.

benchmark  draws all images and writes the split files
roster     settings, entries and database: which pictures there are, and what each one shows
artists    who paints the style entries; paint and lines: their techniques
objects    the things of the object entries; shapes: their outlines; media: photographs and other media
scenes     landscapes and rooms
canvas     one picture while it is drawn; colours, fields: what painters share
"""

# Below the root: written before the first image. Where it lies, the folders beside it may be replaced.
MARKER = "dataset/sample.json"
SPLIT_FILES = tuple(f"dataset/json/{p}_sample_{s}.json" for s in ("style", "object") for p in ("test", "train", "val"))

# Raise when the images or split files change: they are then drawn anew, and all that is made of them.
VERSION = 1
