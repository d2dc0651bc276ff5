"""Score files: a method's scores of each query with each database image and exemplar, where there are no features.

Layout (HDF5): `queries` [Q], `database` [N] and `exemplars` [E] are UTF-8 paths; `database_scores` [Q, N] and
`exemplar_scores` [Q, E] are floating point, higher for more influence, written in blocks of any shape. Of a query's
exemplar scores only those of its own entry are read, unless hard negatives are ranked: the others may be NaN.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from attribench.common.errors import InputError, listed
from attribench.common.files import open_given, refuse_placeholder
from attribench.common.hdf5 import refuse_other_files

AXES = ("queries", "database", "exemplars")
_SCORES = {"database_scores": ("queries", "database"), "exemplar_scores": ("queries", "exemplars")}


class ScoreFile:
    """Read an open score file; `open_score_file` opens it. Raises InputError when it has another layout."""

    def __init__(self, path: Path | str, file: h5py.File):
        self.path = Path(path)
        self._file = file
        missing = [name for name in (*AXES, *_SCORES) if name not in file]
        if missing:
            raise InputError(f"{path}: has no dataset {', '.join(missing)}; found {sorted(file)}")
        wrong = [name for name in (*AXES, *_SCORES) if not isinstance(file[name], h5py.Dataset)]
        wrong += [name for name in AXES if name not in wrong and file[name].ndim != 1]
        if wrong:
            raise InputError(f"{path}: {', '.join(wrong)} is no list of paths or table of scores; see docs/formats.md")
        refuse_other_files(path, file, (*AXES, *_SCORES))
        for name, axes in _SCORES.items():
            expected = tuple(len(file[axis]) for axis in axes)
            if file[name].shape != expected or file[name].dtype.kind != "f":
                raise InputError(
                    f"{path}: {name} is {file[name].dtype} {list(file[name].shape)}; expected floating point "
                    f"{list(expected)}, as {' and '.join(axes)} say"
                )

    def positions(self, axis: str, wanted: list[str]) -> np.ndarray:
        """Return, for each path of the file's `axis`, its number in `wanted`: int64, -1 where it is not there.

        Raises InputError that lists the `wanted` paths which the file does not have, and for a path that it has twice.
        """
        try:
            paths = self._file[axis].asstr()[:].tolist()
        except (TypeError, UnicodeDecodeError, OSError) as error:
            raise InputError(f"{self.path}: {axis} cannot be read ({error}); expected UTF-8 paths") from error
        number = {path: i for i, path in enumerate(wanted)}
        positions = np.array([number.get(path, -1) for path in paths], np.int64)
        times = np.bincount(positions[positions >= 0], minlength=len(wanted))
        if (times > 1).any():
            raise InputError(f"{self.path}: {axis} lists {wanted[int(np.argmax(times))]!r} more than once")
        missing = [path for path, n in zip(wanted, times.tolist(), strict=True) if not n]
        if missing:
            raise InputError(f"{self.path}: {axis} lacks {len(missing)} of {len(wanted)} images:{listed(missing)}")
        return positions

    def blocks(self, name: str, rows: int, columns: int) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Yield the dataset `name` in file order, as (queries, images, scores float64) of at most `rows` x `columns`."""
        dataset = self._file[name]
        n_queries, n_images = dataset.shape
        for left in range(0, n_images, columns):
            for top in range(0, n_queries, rows):
                block = slice(top, min(top + rows, n_queries)), slice(left, min(left + columns, n_images))
                try:
                    yield *block, dataset[block].astype(np.float64)
                except OSError as error:
                    raise InputError(f"{self.path}: {name} cannot be read: {error}") from error


def require_score_file(path: Path) -> None:
    """Raise InputError when there is no score file at `path`, or none that may be read, or a placeholder."""
    with open_given(path, "score file"):
        pass
    refuse_placeholder(path)


@contextmanager
def open_score_file(path: Path | str) -> Iterator[ScoreFile]:
    """Yield the score file at `path`, open. Raises InputError when it is missing or has another layout."""
    require_score_file(Path(path))
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: not a readable HDF5 file ({error})") from error
    with file:
        yield ScoreFile(path, file)
