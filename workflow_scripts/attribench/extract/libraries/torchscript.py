"""Networks as TorchScript archives, which hold their own code."""

from pathlib import Path
from typing import Any

from attribench.common.errors import InputError
from attribench.common.files import sha256_file
from attribench.extract.checkpoints import require_weights_file, weights_file
from attribench.extract.libraries import Defaults
from attribench.extract.registry import ExtractorEntry


def defaults(entry: ExtractorEntry) -> Defaults:
    """Raise InputError: an archive states no preprocessing."""
    raise InputError("library torchscript states no preprocessing; give resize, crop, interpolation, mean and std")


def load(entry: ExtractorEntry, root: Path) -> tuple[Any, str]:
    """Return the archive's network, and the digest of the whole file: its code is as much of it as its tensors are."""
    import torch

    path = weights_file(entry.pretrained, root)
    require_weights_file(path)
    try:
        network = torch.jit.load(path, map_location="cpu").float().eval()
    except RuntimeError as error:
        raise InputError(f"{path}: not a TorchScript file: {str(error).strip().splitlines()[0]}") from error
    return network, sha256_file(path)[:16]
