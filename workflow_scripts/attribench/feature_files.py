"""Feature files that exist already: the published `.pth` layouts, and `.npy`, `.npz`, `.h5` of a user's own."""

import logging
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attribench.errors import InputError
from attribench.feature_rows import READ_AS, FeatureRows, Hdf5Rows, MappedRows, PackedRows, map_npy
from attribench.plain_torch import load_plain

FORMS = """.pth: a dict with `feats` [n, d] and `paths`, or `features` and `paths`, or the published layout of a split
(`exemplar_paths`, `exemplar_tensors`, `synth_paths`, `synth_tensors`); .npz and .h5: `features` [n, d] and `paths` [n];
.npy: [n, d], with the paths in a .txt file of the same name, one a line"""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """Some rows of a feature file: paths [n], and features [n, d] that lie in the file until they are read."""

    paths: list[str]
    features: FeatureRows


@contextmanager
def open_feature_file(path: Path | str, scratch: Path | None = None) -> Iterator[list[Part]]:
    """The parts of the feature file at `path`; memory holds their paths, and the features where they cannot be mapped.

    scratch: the folder for what has to be unpacked before it can be read (None: the file's own). Raises InputError for a
    missing file, an unknown ending or layout, and for types, row counts or dimensions that do not agree.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: the feature file does not exist")
    if path.suffix not in _READERS:
        raise InputError(f"{path}: unknown ending {path.suffix!r}; expected one of {', '.join(_READERS)}")
    with ExitStack() as stack:
        parts = _READERS[path.suffix](path, scratch or path.parent, stack)
        _check(path, parts)
        yield parts


def _check(path: Path, parts: list[Part]) -> None:
    for part in parts:
        shape = tuple(part.features.shape)
        if len(shape) != 2 or shape[0] != len(part.paths) or not shape[1]:
            raise InputError(f"{path}: features are {shape} beside {len(part.paths)} paths; expected [n, d] and n")
        _check_kind(path, part.features.kind)
    dimensions = {part.features.shape[1] for part in parts}
    if len(dimensions) != 1:
        raise InputError(f"{path}: feature dimensions differ within the file: {sorted(dimensions)}; expected one")


def _check_kind(path: Path, kind: str) -> None:
    if kind not in READ_AS:
        raise InputError(f"{path}: features are {kind}; expected one of {', '.join(READ_AS)}")


def _read_torch(path: Path, scratch: Path, stack: ExitStack) -> list[Part]:
    mapped = _is_mappable(path)
    if not mapped:
        size = path.stat().st_size / 1e6
        log.warning("%s: all of its %.0f MB are loaded: torch's old format cannot be mapped", path, size)
    content = load_plain(path, f"\n{FORMS}", mapped=mapped)
    if isinstance(content, dict) and "exemplar_tensors" in content:
        _require(path, content, ["exemplar_paths", "synth_paths", "synth_tensors"])
        if not isinstance(content["synth_paths"], dict):
            found = type(content["synth_paths"]).__name__
            raise InputError(f"{path}: synth_paths is {found}; expected lists of paths by prompt type")
        for key in ("synth_paths", "synth_tensors"):
            _require(path, content[key], list(content["synth_paths"]))
        pairs = [(content["exemplar_paths"], content["exemplar_tensors"])]
        pairs += [(paths, content["synth_tensors"][k]) for k, paths in content["synth_paths"].items()]
    else:
        key = "feats" if isinstance(content, dict) and "feats" in content else "features"
        _require(path, content, [key, "paths"])
        pairs = [(content["paths"], content[key])]
    return [Part(_texts(path, paths), _tensor_rows(path, tensor, mapped)) for paths, tensor in pairs]


def _is_mappable(path: Path) -> bool:
    """Whether torch's file holds tensors as they are in memory: a zip file, not compressed, in this machine's byte order."""
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return False
    try:
        with zipfile.ZipFile(path) as archive:
            orders = [archive.read(name).decode() for name in archive.namelist() if name.endswith("/byteorder")]
            stored = all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: cut off or damaged ({error}); expected a whole file of torch.save's") from error
    if not stored:
        raise InputError(f"{path}: a compressed zip file; expected one as torch.save writes it, which is not")
    return set(orders) <= {sys.byteorder}


def _tensor_rows(path: Path, tensor: Any, mapped: bool) -> MappedRows:
    import torch

    if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
        found = tensor.layout if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        raise InputError(f"{path}: features are {found}; expected a dense tensor [n, d]")
    kind = str(tensor.dtype).removeprefix("torch.")
    _check_kind(path, kind)
    values = tensor.detach()
    array = values.view(torch.int16).numpy().view(np.uint16) if kind == "bfloat16" else values.numpy()
    storage = tensor.untyped_storage()
    return MappedRows(array, kind, (storage.data_ptr(), storage.nbytes()) if mapped and storage.nbytes() else None)


def _read_npz(path: Path, scratch: Path, stack: ExitStack) -> list[Part]:
    member = "features.npy"
    try:
        with np.load(path, allow_pickle=False) as content:
            _require(path, content, ["features", "paths"])
            paths = _texts(path, content["paths"])
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(member)
        if info.compress_type != zipfile.ZIP_STORED:
            return [Part(paths, PackedRows(path, member, scratch, stack))]
        file = stack.enter_context(open(path, "rb"))
        # The data begin after the member's own header, whose last two fields are the lengths of what follows it.
        file.seek(info.header_offset + 26)
        lengths = struct.unpack("<HH", file.read(4))
        return [Part(paths, map_npy(path, file, info.header_offset + 30 + sum(lengths)))]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not a plain .npz file ({error}); expected\n{FORMS}") from error


def _read_npy(path: Path, scratch: Path, stack: ExitStack) -> list[Part]:
    from attribench.manifest import read_list_file

    rows = map_npy(path, stack.enter_context(open(path, "rb")), 0)
    return [Part(read_list_file(path.with_suffix(".txt")), rows)]


def _read_hdf5(path: Path, scratch: Path, stack: ExitStack) -> list[Part]:
    import h5py

    try:
        content = stack.enter_context(h5py.File(path, "r"))
    except OSError as error:
        raise InputError(f"{path}: not a readable HDF5 file ({error})") from error
    _require(path, content, ["features", "paths"])
    for name in ("features", "paths"):
        if not isinstance(content[name], h5py.Dataset):
            raise InputError(f"{path}: `{name}` is a group; expected a dataset")
    try:
        return [Part(_texts(path, content["paths"].asstr()[...]), Hdf5Rows(path, content["features"], scratch, stack))]
    except (OSError, TypeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: `paths` cannot be read ({error}); expected text [n]") from error


_READERS: dict[str, Callable[[Path, Path, ExitStack], list[Part]]] = {
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".h5": _read_hdf5,
}


def _texts(path: Path, values: Any) -> list[str]:
    """The paths in a file, as a list of text."""
    if isinstance(values, np.ndarray):
        values = (np.strings.decode(values, "utf-8") if values.dtype.kind == "S" else values).tolist()
    texts = values if isinstance(values, list) else list(values) if isinstance(values, tuple) else None
    odd = [values] if texts is None else [text for text in texts if not isinstance(text, str)]
    if odd:
        raise InputError(f"{path}: `paths` holds {type(odd[0]).__name__}; expected a list of text, one a row")
    return texts


def _require(path: Path, content: Any, keys: list[str]) -> None:
    found = list(map(str, content)) if hasattr(content, "__iter__") else type(content).__name__
    missing = [key for key in keys if key not in content] if isinstance(found, list) else keys
    if missing:
        raise InputError(
            f"{path}: has no {', '.join(missing)}; found {found if len(found) < 20 else '…'}; expected\n{FORMS}"
        )
