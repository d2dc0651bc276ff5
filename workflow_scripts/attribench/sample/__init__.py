"""The embedded `sample` benchmark: customization in miniature, rendered with planted ground truth."""

# Below the root: written before the first image, and what allows the folders beside it to be replaced.
MARKER = "dataset/sample.json"
SPLIT_FILES = tuple(f"dataset/json/{p}_sample_{s}.json" for s in ("style", "object") for p in ("test", "train", "val"))
