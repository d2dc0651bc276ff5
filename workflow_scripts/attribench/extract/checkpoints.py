"""Weights: from a file in any of the published forms to the tensors of a network, strictly; and their digest."""

import hashlib
import importlib.util
import pickle
import zipfile
from pathlib import Path
from typing import Any

from attribench.common.errors import InputError, first_line
from attribench.common.files import open_given, refuse_placeholder
from attribench.common.torch_files import load_plain
from attribench.extract.registry import WeightsFile
from attribench.extract.vit_archive import as_timm_names, read_arrays

_NAMED = 5  # tensors that an error names, of each fault


# --- reading -------------------------------------------------------------------------------------------------------------


def weights_file(spec: WeightsFile, root: Path | str) -> Path:
    """Return where the checkpoint lies: in the package that ships it, or below `root` (absolute paths stay as they are)."""
    if spec.package is None:
        return Path(root) / spec.file
    package = importlib.util.find_spec(spec.package)
    if package is None or not package.submodule_search_locations:
        name = spec.package.replace("_", "-")
        raise InputError(f"weights package {spec.package} is not installed; expected it from `pip install {name}`")
    return Path(package.submodule_search_locations[0]) / spec.file


def require_weights_file(path: Path) -> None:
    """Raise InputError when there is no file at `path`, none that may be read, or one that is no weights at all."""
    with open_given(path, "weights file"):
        pass
    refuse_placeholder(path)


def refuse_other_format(path: Path) -> None:
    """Raise InputError for a file that cannot be a checkpoint, by what it begins and ends with; tensors are not read."""
    require_weights_file(path)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:  # reads the header, and compares it with the size of the file
            with safe_open(path, "np"):
                return
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: not a whole file of safetensors ({first_line(error)})") from error
    with open(path, "rb") as file:
        is_pickle = file.read(1) == b"\x80"  # of torch's old format
    if not is_pickle and not zipfile.is_zipfile(path):
        raise InputError(f"{path}: not a whole checkpoint; expected a file of torch.save, of safetensors, or .npz")


def read_tensors(path: Path, spec: WeightsFile) -> dict[str, Any]:
    """Return the tensors of the checkpoint at `path` by name, as `spec` picks and names them.

    It is a `torch.save` file of plain tensors, a TorchScript archive, .safetensors, or an original ViT archive (.npz).
    Raises InputError for any other file, and for an entry or a prefix of `spec` that the file does not have.
    """
    require_weights_file(path)
    content = read_whole(path)
    if spec.key is not None:
        if not isinstance(content, dict) or spec.key not in content:
            entries = sorted(map(str, content))[:10] if isinstance(content, dict) else type(content).__name__
            raise InputError(f"{path}: has no entry {spec.key!r}; found {entries}")
        content = content[spec.key]
    _refuse_other_content(path, content, spec)
    tensors = {n.removeprefix(spec.prefix): t for n, t in content.items() if n.startswith(spec.prefix)}
    if not tensors:
        raise InputError(f"{path}: no tensor's name begins with {spec.prefix!r}; found {list(content)[:_NAMED]}")
    if path.suffix == ".npz":
        tensors = as_timm_names(tensors)
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(spec.drop)}


def read_whole(path: Path) -> Any:
    """Return what the checkpoint at `path` holds.

    Raises InputError for a file that holds more than tensors, containers and text.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".npz":
            return read_arrays(path)
        if _is_torchscript(path):
            return dict(torch.jit.load(path, map_location="cpu").state_dict())
    except (OSError, RuntimeError, ValueError, EOFError, TypeError, pickle.UnpicklingError, SafetensorError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: not a checkpoint of plain tensors: {reason}") from error
    return load_plain(path, "a checkpoint")


def _is_torchscript(path: Path) -> bool:
    """Return whether the file is TorchScript: every PyTorch file is a zip archive, but only this one has constants in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _refuse_other_content(path: Path, content: Any, spec: WeightsFile) -> None:
    """Raise InputError unless `content` is tensors by name."""
    is_by_name = isinstance(content, dict) and all(isinstance(name, str) for name in content)
    others = {n: _described(t) for n, t in content.items() if not _is_plain(t)} if is_by_name else {}
    if others or not is_by_name:
        raise InputError(
            f"{path}: expected tensors by name{f' below {spec.key!r}' if spec.key else ''}; found "
            f"{dict(list(others.items())[:_NAMED]) or _described(content)}; if the tensors lie in one of its entries, "
            "give the entry's name as `key`"
        )


def _is_plain(value: Any) -> bool:
    """Return whether `value` is a dense tensor."""
    import torch

    return isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_quantized


def _described(value: Any) -> str:
    return f"one tensor {list(value.shape)}" if _is_plain(value) else type(value).__name__


# --- loading -------------------------------------------------------------------------------------------------------------


def load_strictly(network: Any, tensors: dict[str, Any], path: Path, hint: str = "") -> None:
    """Put `tensors`, which come from `path`, into `network`.

    Raises InputError that names the tensors which are missing, which the network does not have, and whose shapes differ; it
    ends with `hint`.
    """
    expected = network.state_dict()
    other_shapes = [
        f"{name} {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    faults = {
        "missing": [name for name in expected if name not in tensors],
        "not expected": [name for name in tensors if name not in expected],
        "of another shape": other_shapes,
    }
    if any(faults.values()):
        listed = "; ".join(f"{fault}: {_first_of(names)}" for fault, names in faults.items() if names)
        raise InputError(f"{path}: does not fit the network. {listed}{hint}")
    network.load_state_dict(tensors, strict=True)


def _first_of(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def match_by_order(path: Path, tensors: dict, expected: dict) -> dict:
    """Return `tensors` under the names of `expected`: the i-th is the i-th there, and of the same shape."""
    if len(tensors) != len(expected):
        raise InputError(f"{path}: holds {len(tensors)} tensors; expected {len(expected)}")
    for (name, tensor), (wanted, model) in zip(tensors.items(), expected.items(), strict=True):
        if tensor.shape != model.shape:
            raise InputError(
                f"{path}: tensor {name} is {tuple(tensor.shape)}; expected {tuple(model.shape)} for {wanted}"
            )
    return dict(zip(expected, tensors.values(), strict=True))


def weights_digest(network: Any, architecture: str) -> str:
    """Return 16 hexadecimal digits of SHA-256 over every parameter and buffer: name, type, shape and bytes.

    `architecture` is part of it: equal tensors can belong to different networks (GELU or QuickGELU, say).
    """
    import torch

    digest = hashlib.sha256(architecture.encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
