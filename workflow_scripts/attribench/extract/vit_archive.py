"""Original ViT archives (.npz), whose arrays are named and laid out as Flax does it.

timm has a loader for them, which is not strict: it resizes a position embedding or a kernel of another size, passes over
arrays that it does not know, leaves tensors as they were that it has no array for, and names none of them. Here an archive
becomes tensors under timm's names, to be loaded as strictly as those of any other file.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

# What becomes of an array's name, step by step.
_NAMES = (
    (r"^cls$", "cls_token"),
    (r"^Transformer/posembed_input/pos_embedding$", "pos_embed"),
    (r"^embedding/", "patch_embed.proj."),
    (r"^Transformer/encoder_norm/", "norm."),
    (r"^Transformer/encoderblock_(\d+)/", r"blocks.\1."),
    (r"LayerNorm_0/", "norm1."),
    (r"LayerNorm_2/", "norm2."),
    (r"MultiHeadDotProductAttention_1/out/", "attn.proj."),
    (r"MultiHeadDotProductAttention_1/(query|key|value)/", r"attn.\1."),
    (r"MlpBlock_3/Dense_0/", "mlp.fc1."),
    (r"MlpBlock_3/Dense_1/", "mlp.fc2."),
    (r"^head/", "head."),
    (r"\b(kernel|scale)$", "weight"),
)


def read_arrays(path: Path) -> dict[str, Any]:
    """Return the arrays of the archive at `path` as tensors, under its own names."""
    import torch

    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def as_timm_names(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays of an archive under timm's names and in its layout: query, key and value are one tensor."""
    import torch

    tensors = {}
    for name, array in arrays.items():
        for pattern, replacement in _NAMES:
            name = re.sub(pattern, replacement, name)
        tensors[name] = _laid_out(name, array)
    for name in [name for name in tensors if ".attn.query." in name]:
        parts = [name.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
        if all(part in tensors for part in parts):
            tensors[name.replace(".query.", ".qkv.")] = torch.cat([tensors.pop(part) for part in parts])
    return tensors


def _laid_out(name: str, array: Any) -> Any:
    """Return a Flax array as PyTorch has it: attention heads in one axis, and a kernel's outputs first."""
    if re.search(r"\.attn\.(query|key|value)\.", name):
        array = array.flatten(-2)
    elif name.endswith(".attn.proj.weight"):
        array = array.flatten(0, -2)
    if array.ndim == 4:
        return array.permute(3, 2, 0, 1)
    return array.T if array.ndim == 2 else array
