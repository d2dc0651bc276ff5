"""The embedded `sample` benchmark: customization in miniature, rendered with planted ground truth."""

# Below the root: written before the first image, and what allows the folders beside it to be replaced.
MARKER = "dataset/sample.json"
