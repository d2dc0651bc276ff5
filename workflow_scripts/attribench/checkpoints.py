"""Weights: from a file in any of the published forms to the tensors of a network, strictly; and their digest."""

import hashlib
import importlib.util
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from attribench.errors import InputError
from attribench.plain_torch import load_plain
from attribench.registry import WeightsFile

# The original ViT archives name tensors as Flax does; in turn, what becomes of such a name.
_FLAX_NAMES = (
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
_NAMED = 5  # tensors of each kind that an error names


def weights_file(spec: WeightsFile, root: Path | str) -> Path:
    """Where the checkpoint lies: in the package that ships it, or below `root` (absolute paths stand as they are)."""
    if spec.package is None:
        return Path(root) / spec.file
    found = importlib.util.find_spec(spec.package)
    if found is None or not found.submodule_search_locations:
        name = spec.package.replace("_", "-")
        raise InputError(f"weights package {spec.package} is not installed; expected it from `pip install {name}`")
    return Path(found.submodule_search_locations[0]) / spec.file


def require(path: Path) -> None:
    """Raise InputError when there is no file at `path`."""
    if not path.is_file():
        raise InputError(f"{path}: the weights file does not exist")


def read_state(path: Path, spec: WeightsFile) -> dict[str, Any]:
    """The tensors of the checkpoint at `path` by name, as `spec` picks and names them.

    A `torch.save` file of plain tensors, a TorchScript archive, .safetensors, or an original ViT archive (.npz). Raises
    InputError for a file of another kind, and for an entry or a prefix of `spec` that the file does not have.
    """
    require(path)
    content = _read(path)
    if spec.key is not None:
        if not isinstance(content, dict) or spec.key not in content:
            found = sorted(map(str, content))[:10] if isinstance(content, dict) else type(content).__name__
            raise InputError(f"{path}: has no entry {spec.key!r}; found {found}")
        content = content[spec.key]
    others = {n: type(t).__name__ for n, t in content.items() if not hasattr(t, "shape")} if _is_dict(content) else {}
    if others or not _is_dict(content):
        raise InputError(
            f"{path}: expected tensors by name{f' below {spec.key!r}' if spec.key else ''}; found "
            f"{dict(list(others.items())[:_NAMED]) or type(content).__name__}; if the tensors lie in one of its entries, "
            "give the entry's name as `key`"
        )
    state = {n.removeprefix(spec.prefix): t for n, t in content.items() if n.startswith(spec.prefix)}
    if not state:
        raise InputError(f"{path}: no tensor's name begins with {spec.prefix!r}; found {list(content)[:_NAMED]}")
    if path.suffix == ".npz":
        state = _from_flax(state)
    return {name: tensor for name, tensor in state.items() if not name.startswith(tuple(spec.drop))}


def _is_dict(content: Any) -> bool:
    return isinstance(content, dict) and all(isinstance(name, str) for name in content)


def _read(path: Path) -> Any:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        if _is_torchscript(path):
            return dict(torch.jit.load(path, map_location="cpu").state_dict())
    except (OSError, RuntimeError, ValueError, EOFError, TypeError, pickle.UnpicklingError, SafetensorError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: not a checkpoint of plain tensors: {reason}") from error
    return load_plain(path, "a checkpoint")


def _is_torchscript(path: Path) -> bool:
    """Both kinds of PyTorch file are zip archives; only TorchScript has constants and code in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _from_flax(arrays: dict[str, Any]) -> dict[str, Any]:
    """The tensors of an original ViT archive, named and laid out as timm's: outputs first, and qkv in one."""
    import torch

    state = {}
    for name, array in arrays.items():
        for pattern, replacement in _FLAX_NAMES:
            name = re.sub(pattern, replacement, name)
        state[name] = _laid_out(name, array)
    for name in [name for name in state if ".attn.query." in name]:
        parts = [name.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
        if all(part in state for part in parts):
            state[name.replace(".query.", ".qkv.")] = torch.cat([state.pop(part) for part in parts])
    return state


def _laid_out(name: str, array: Any) -> Any:
    """A Flax array as PyTorch has it: attention heads in one axis, and a kernel's outputs first."""
    if re.search(r"\.attn\.(query|key|value)\.", name):
        array = array.flatten(-2)
    elif name.endswith(".attn.proj.weight"):
        array = array.flatten(0, -2)
    if array.ndim == 4:
        return array.permute(3, 2, 0, 1)
    return array.T if array.ndim == 2 else array


def load_strictly(network: Any, state: dict[str, Any], path: Path) -> None:
    """Put the tensors of `state`, which come from `path`, into `network`.

    Raises InputError that names the tensors which are missing, which the network does not have, and whose shapes differ.
    """
    expected = network.state_dict()
    shapes = [
        f"{name} {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    faults = {
        "missing": [name for name in expected if name not in state],
        "not expected": [name for name in state if name not in expected],
        "of another shape": shapes,
    }
    if any(faults.values()):
        listed = "; ".join(f"{kind}: {_some(names)}" for kind, names in faults.items() if names)
        raise InputError(f"{path}: does not fit the network. {listed}")
    network.load_state_dict(state, strict=True)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def match_by_order(path: Path, state: dict, expected: dict) -> dict:
    """`state` under the names of `expected`: its i-th tensor is the i-th there, of the same shape."""
    if len(state) != len(expected):
        raise InputError(f"{path}: holds {len(state)} tensors; expected {len(expected)}")
    for (name, tensor), (wanted, model) in zip(state.items(), expected.items(), strict=True):
        if tensor.shape != model.shape:
            raise InputError(
                f"{path}: tensor {name} is {tuple(tensor.shape)}; expected {tuple(model.shape)} for {wanted}"
            )
    return dict(zip(expected, state.values(), strict=True))


def weights_digest(network: Any, architecture: str) -> str:
    """16 hexadecimal digits of SHA-256 over every parameter and buffer: name, type, shape and bytes.

    `architecture` is part of it: equal tensors can belong to different networks (GELU or QuickGELU, say).
    """
    import torch

    digest = hashlib.sha256(architecture.encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
