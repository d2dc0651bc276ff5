"""Feature files that exist already: the published `.pth` layouts, and `.npy`, `.npz`, `.h5` of a user's own."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attribench.errors import InputError

FORMS = """.pth: a dict with `feats` [n, d] and `paths`, or `features` and `paths`, or the published layout of a split
(`exemplar_paths`, `exemplar_tensors`, `synth_paths`, `synth_tensors`); .npz and .h5: `features` [n, d] and `paths` [n];
.npy: [n, d], with the paths in a .txt file of the same name, one a line"""


@dataclass(frozen=True)
class Part:
    """Some rows of a feature file: paths [n], and features [n, d] that are read when they are sliced."""

    paths: list[str]
    features: Any

    def rows(self, index: np.ndarray) -> np.ndarray:
        """The features of the rows `index` (rising), [len(index), d]; float16 stays, all else becomes float32."""
        if len(index) and index[-1] - index[0] + 1 == len(index):
            chosen = self.features[int(index[0]) : int(index[-1]) + 1]
        else:
            chosen = self.features[index]
        values = chosen.numpy() if hasattr(chosen, "numpy") else np.asarray(chosen)
        return values if values.dtype == np.float16 else values.astype(np.float32, copy=False)

    @property
    def dtype(self) -> str:
        """float16 or float32: what `rows` gives."""
        return "float16" if str(self.features.dtype).endswith("float16") else "float32"


def open_feature_file(path: Path | str) -> list[Part]:
    """The parts of the feature file at `path`, memory-mapped where the format allows.

    Raises InputError for a missing file, an unknown ending or layout, and row counts or dimensions that do not agree.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: the feature file does not exist")
    readers = {".pth": _read_torch, ".pt": _read_torch, ".npz": _read_npz, ".npy": _read_npy, ".h5": _read_hdf5}
    if path.suffix not in readers:
        raise InputError(f"{path}: unknown ending {path.suffix!r}; expected one of {', '.join(readers)}")
    parts = readers[path.suffix](path)
    for part in parts:
        if len(part.features.shape) != 2 or part.features.shape[0] != len(part.paths):
            raise InputError(
                f"{path}: features are {tuple(part.features.shape)} beside {len(part.paths)} paths; expected [n, d] and n"
            )
        if "float" not in str(part.features.dtype):
            raise InputError(f"{path}: features are {part.features.dtype}; expected floating point")
    dimensions = {part.features.shape[1] for part in parts}
    if len(dimensions) != 1:
        raise InputError(f"{path}: feature dimensions differ within the file: {sorted(dimensions)}; expected one")
    return parts


def _read_torch(path: Path) -> list[Part]:
    import torch

    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a file of plain tensors and lists ({reason}); expected\n{FORMS}") from error
    if isinstance(content, dict) and "exemplar_tensors" in content:
        _require(path, content, ["exemplar_paths", "synth_paths", "synth_tensors"])
        parts = [Part(list(content["exemplar_paths"]), content["exemplar_tensors"])]
        return parts + [
            Part(list(content["synth_paths"][k]), content["synth_tensors"][k]) for k in content["synth_paths"]
        ]
    key = "feats" if isinstance(content, dict) and "feats" in content else "features"
    _require(path, content, [key, "paths"])
    return [Part(list(content["paths"]), content[key])]


def _read_npz(path: Path) -> list[Part]:
    try:
        with np.load(path, allow_pickle=False) as content:
            _require(path, content, ["features", "paths"])
            return [Part([str(p) for p in content["paths"]], content["features"])]
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: not a plain .npz file ({error}); expected\n{FORMS}") from error


def _read_npy(path: Path) -> list[Part]:
    from attribench.manifest import read_list_file

    try:
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: not a plain .npy file ({error}); expected\n{FORMS}") from error
    return [Part(read_list_file(path.with_suffix(".txt")), features)]


def _read_hdf5(path: Path) -> list[Part]:
    import h5py

    try:
        content = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: not a readable HDF5 file ({error})") from error
    _require(path, content, ["features", "paths"])
    return [Part(list(content["paths"].asstr()[:]), content["features"])]


def _require(path: Path, content: Any, keys: list[str]) -> None:
    found = list(map(str, content)) if hasattr(content, "__iter__") else type(content).__name__
    missing = [key for key in keys if key not in content] if isinstance(found, list) else keys
    if missing:
        raise InputError(
            f"{path}: has no {', '.join(missing)}; found {found if len(found) < 20 else '…'}; expected\n{FORMS}"
        )
