"""Networks as TorchScript archives, which hold their own code."""

from pathlib import Path
from typing import Any

from attribench.common.errors import InputError
from attribench.common.files import sha256_file
from attribench.extract.checkpoints import require_weights_file, weights_file
from attribench.extract.libraries import Loaded, NetworkInput
from attribench.extract.registry import ExtractorEntry


def stated_inputs(entry: ExtractorEntry, root: Path) -> list[NetworkInput]:
    """Return nothing: an archive states no preprocessing."""
    return []


def load(entry: ExtractorEntry, root: Path, size: int) -> Loaded:
    """Return the archive's network, and the digest of the whole file: its code is as much of it as its tensors are."""
    path = weights_file(entry.pretrained, root)
    return Loaded(_network(path), sha256_file(path)[:16])


def outline(entry: ExtractorEntry, root: Path, size: int) -> Any | None:
    """Return the archive's network, if the archive is there."""
    path = weights_file(entry.pretrained, root)
    return _network(path) if path.is_file() else None


def _network(path: Path) -> Any:
    import torch

    require_weights_file(path)
    try:
        return torch.jit.load(path, map_location="cpu").float().eval()
    except RuntimeError as error:
        raise InputError(f"{path}: not a TorchScript file: {str(error).strip().splitlines()[0]}") from error
