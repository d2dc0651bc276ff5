"""Feature files that exist already: the published `.pth` layouts, and `.npy`, `.npz`, `.h5` of a user's own."""

import logging
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from attribench.common.errors import InputError
from attribench.common.files import open_given, refuse_placeholder
from attribench.common.hdf5 import refuse_other_files
from attribench.common.text_files import refuse_not_storable
from attribench.common.torch_files import load_plain
from attribench.formats.manifest import read_list_file

# What each type of floating point becomes in a shard.
STORED_AS = {"float16": "float16", "bfloat16": "float32", "float32": "float32", "float64": "float32"}
LAYOUTS = """.pth: a dict with `feats` [n, d] and `paths`, or `features` and `paths`, or the published layout of a split
(`exemplar_paths`, `exemplar_tensors`, `synth_paths`, `synth_tensors`); .npz and .h5: `features` [n, d] and `paths` [n];
.npy: [n, d], with the paths in a .txt file of the same name, one per line"""
_BLOCK_BYTES = 1 << 20  # of features that are read at a time

log = logging.getLogger(__name__)


Blocks = Iterator[tuple[slice | np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Part:
    """Hold some rows of a feature file: paths [n], and features of `shape` (n, d), which stay in the file until read.

    `dtype` is their type in the file, one of STORED_AS. `read` takes the numbers of rows, int64 [k] in any order, and yields
    blocks of them: which of the k they are, and their features [b, d], in that type or, for bfloat16, in float32.
    """

    paths: list[str]
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[np.ndarray], Blocks]


def files_of(path: str) -> list[str]:
    """Return the files that the feature file at `path` consists of: a .npy file has its paths in another one."""
    return [path, str(Path(path).with_suffix(".txt"))] if path.endswith(".npy") else [path]


def require_feature_file(path: Path) -> None:
    """Raise InputError when a file is missing, or may not be read, of those that the feature file at `path` consists of."""
    with open_given(path, "feature file"):
        pass
    for file in files_of(str(path))[1:]:
        with open_given(file, "list file", "one image path per line"):
            pass
    for file in files_of(str(path)):
        refuse_placeholder(file)


@contextmanager
def open_feature_file(path: Path | str) -> Iterator[list[Part]]:
    """Yield the parts of the feature file at `path`: one, or those of a published split file.

    Memory holds the paths, and the features only of a .pth in torch's old format. Raises InputError for a missing file, an
    unknown ending or layout, and for types, row counts or dimensions that do not agree.
    """
    path = Path(path)
    require_feature_file(path)
    if path.suffix not in _READERS:
        raise InputError(
            f"{path}: unknown ending {path.suffix!r}; expected one of {', '.join(_READERS)}: write features [n, d] and "
            "paths [n], by `numpy.savez(FILE, features=..., paths=...)`, say"
        )
    with ExitStack() as stack:
        parts = _READERS[path.suffix](path, stack)
        _check(path, parts)
        yield parts


def _check(path: Path, parts: list[Part]) -> None:
    for part in parts:
        if len(part.shape) != 2 or part.shape[0] != len(part.paths) or not part.shape[1]:
            raise InputError(f"{path}: features are {part.shape} beside {len(part.paths)} paths; expected [n, d] and n")
        if part.dtype not in STORED_AS:
            raise InputError(f"{path}: features are {part.dtype}; expected one of {', '.join(STORED_AS)}")
    dimensions = {part.shape[1] for part in parts}
    if len(dimensions) != 1:
        raise InputError(f"{path}: feature dimensions differ within the file: {sorted(dimensions)}; expected one")


def _require(path: Path, content: Any, names: list[str]) -> None:
    """Raise InputError unless `content`, a mapping read from the file, has all of `names`."""
    is_mapping = hasattr(content, "keys")
    missing = [name for name in names if not is_mapping or name not in content]
    if missing:
        shown = list(map(str, content.keys())) if is_mapping else _described(content)
        shown = "…" if is_mapping and len(shown) >= 20 else shown
        raise InputError(f"{path}: has no {', '.join(missing)}; found {shown}; expected\n{LAYOUTS}")


def _described(content: Any) -> str:
    shape = getattr(content, "shape", None)
    return type(content).__name__ if shape is None else f"one tensor {list(shape)}, without the paths of its rows"


def _texts(path: Path, values: Any) -> list[str]:
    """Return the paths in the file, `values`, as a list of text. Raises InputError for anything else."""
    if isinstance(values, np.ndarray):
        try:
            values = (np.strings.decode(values, "utf-8") if values.dtype.kind == "S" else values).tolist()
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: `paths` is not UTF-8 ({error.reason}); expected text, one per row") from error
    is_list = isinstance(values, list | tuple)
    others = [text for text in values if not isinstance(text, str)] if is_list else [values]
    if others:
        raise InputError(f"{path}: `paths` holds {type(others[0]).__name__}; expected a list of text, one per row")
    refuse_not_storable(path, values)
    return list(values)


# --- .pth and .npy, mapped --------------------------------------------------------------------------------------------


def _read_torch(path: Path, stack: ExitStack) -> list[Part]:
    mapped = _is_new_format(path)
    if not mapped:
        size = path.stat().st_size / 1e6
        log.warning("%s: all of its %.0f MB are loaded: torch's old format cannot be mapped", path, size)
    content = load_plain(path, f"\n{LAYOUTS}", mapped=mapped)
    if isinstance(content, dict) and "exemplar_tensors" in content:
        pairs = _published_split(path, content)
    else:
        name = "feats" if isinstance(content, dict) and "feats" in content else "features"
        if name == "feats" and "features" in content:
            raise InputError(f"{path}: has both `feats` and `features`; expected one of them")
        _require(path, content, [name, "paths"])
        pairs = [(content["paths"], content[name])]
    return [_tensor_part(path, _texts(path, paths), tensor) for paths, tensor in pairs]


def _is_new_format(path: Path) -> bool:
    """Return whether torch's file is a zip file, which it can map. Raises InputError for a damaged or compressed one."""
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return False
    try:
        with zipfile.ZipFile(path) as archive:
            stored = all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: cut off or damaged ({error}); expected a whole file of torch.save's") from error
    if not stored:
        raise InputError(f"{path}: a compressed zip file; expected one as torch.save writes it, which is not")
    return True


def _published_split(path: Path, content: dict) -> list[tuple[Any, Any]]:
    """Return the paths and features of a split's file: first those of exemplars, then of each prompt type's queries."""
    _require(path, content, ["exemplar_paths", "synth_paths", "synth_tensors"])
    paths, tensors = content["synth_paths"], content["synth_tensors"]
    if not isinstance(paths, dict):
        raise InputError(f"{path}: synth_paths is {type(paths).__name__}; expected lists of paths by prompt type")
    _require(path, tensors, list(paths))
    queries = [(paths[prompt_type], tensors[prompt_type]) for prompt_type in paths]
    return [(content["exemplar_paths"], content["exemplar_tensors"]), *queries]


def _tensor_part(path: Path, paths: list[str], tensor: Any) -> Part:
    import torch

    if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided or tensor.is_meta:
        content = tensor.layout if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        content = "without values, on the device `meta`" if getattr(tensor, "is_meta", False) else content
        raise InputError(f"{path}: features are {content}; expected a dense tensor [n, d]")

    def take(rows: np.ndarray) -> np.ndarray:
        chosen = tensor.detach()[torch.from_numpy(rows)]
        return (chosen.float() if chosen.dtype == torch.bfloat16 else chosen).numpy()  # numpy has no bfloat16

    dtype = str(tensor.dtype).removeprefix("torch.")
    return Part(paths, tuple(tensor.shape), dtype, partial(_read_mapped, tensor, take))


def _read_mapped(array: Any, take: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> Blocks:
    """Read the `rows` of a mapped array [n, d]; `take` returns rows of it."""
    step = _block_rows(array.shape[1], array.dtype)
    for start in range(0, len(rows), step):
        yield slice(start, start + step), take(rows[start : start + step])


def _read_npy(path: Path, stack: ExitStack) -> list[Part]:
    try:
        array = np.asarray(np.lib.format.open_memmap(path, mode="r"))
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be mapped ({error}); expected a whole array [n, d] of numpy's") from error
    read = partial(_read_mapped, array, array.__getitem__)
    return [Part(read_list_file(path.with_suffix(".txt")), array.shape, array.dtype.name, read)]


# --- .npz and .h5, read from the beginning to the end -----------------------------------------------------------------


def _read_npz(path: Path, stack: ExitStack) -> list[Part]:
    try:
        with np.load(path, allow_pickle=False) as content:
            _require(path, content, ["features", "paths"])
            paths = _texts(path, content["paths"])
        with zipfile.ZipFile(path) as archive, archive.open("features.npy") as stream:
            shape, _, dtype = _read_header(path, stream)
    except (TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not a plain .npz file ({error}); expected\n{LAYOUTS}") from error
    return [Part(paths, shape, dtype.name, partial(_read_packed, path))]


def _read_header(path: Path, stream: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read up to the data of an array in numpy's format: its shape, whether columns come first, and its type."""
    is_first = np.lib.format.read_magic(stream) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(stream)
    if dtype.hasobject:
        raise InputError(f"{path}: the array holds Python objects; expected floating point [n, d]")
    return shape, by_columns, dtype


def _read_packed(path: Path, rows: np.ndarray) -> Blocks:
    """Read the `rows` of `features`, compressed or not. All of the array is read: the zip file's checksum is over all."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("features.npy") as stream:
            (n, d), by_columns, dtype = _read_header(path, stream)
            if by_columns:  # no row is whole before the end
                with np.load(path, allow_pickle=False) as content:
                    yield slice(None), content["features"][rows]
                return
            step = _block_rows(d, dtype)
            for start in range(0, n, step):
                block = np.frombuffer(stream.read(min(step, n - start) * d * dtype.itemsize), dtype).reshape(-1, d)
                wanted = np.flatnonzero((rows >= start) & (rows < start + step))
                yield wanted, block[rows[wanted] - start]
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, IndexError) as error:
        raise InputError(f"{path}: features.npy is damaged ({error}); expected a whole .npz file") from error


def _read_hdf5(path: Path, stack: ExitStack) -> list[Part]:
    import h5py

    try:
        content = stack.enter_context(h5py.File(path, "r"))
    except OSError as error:
        raise InputError(f"{path}: not a readable HDF5 file ({error})") from error
    _require(path, content, ["features", "paths"])
    for name in ("features", "paths"):
        if not isinstance(found := content.get(name), h5py.Dataset):
            what = "a link to nothing" if found is None else "a group"
            raise InputError(f"{path}: `{name}` is {what}; expected a dataset")
        if found.shape is None:
            raise InputError(f"{path}: `{name}` is a dataset without values; expected an array")
    refuse_other_files(path, content, ("features", "paths"))
    features = content["features"]
    try:
        paths = _texts(path, content["paths"].asstr()[...])
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: `paths` is not UTF-8 ({error}); expected text, one per row") from error
    except (OSError, TypeError) as error:
        raise InputError(f"{path}: `paths` cannot be read ({error}); expected text [n]") from error
    return [Part(paths, features.shape or (), features.dtype.name, partial(_read_dataset, path, features))]


def _read_dataset(path: Path, dataset: Any, rows: np.ndarray) -> Blocks:
    """Read the `rows` of an HDF5 dataset [n, d] in slices of it: of single rows, HDF5 reads few in a second."""
    n, d = dataset.shape
    step = max(_block_rows(d, dataset.dtype), dataset.chunks[0] if dataset.chunks else 1)
    for start in range(0, n, step):
        stop = min(start + step, n)
        wanted = np.flatnonzero((rows >= start) & (rows < stop))
        if len(wanted):
            try:
                block = dataset[start:stop]
            except OSError as error:
                raise InputError(f"{path}: rows {start} to {stop - 1} are damaged ({error})") from error
            yield wanted, block[rows[wanted] - start]


def _block_rows(dimension: int, dtype: Any) -> int:
    """Return how many rows are read at a time."""
    return max(1, _BLOCK_BYTES // (dimension * dtype.itemsize))


_READERS: dict[str, Callable[[Path, ExitStack], list[Part]]] = {
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".h5": _read_hdf5,
}
