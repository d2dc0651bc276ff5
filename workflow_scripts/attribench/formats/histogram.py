"""Histograms of scores, and their file: how the database's scores with each query are distributed (docs/formats.md).

Influence is a sum over all images of functions of their scores, which are known only when the calibrator is. A histogram
serves every calibrator, and needs no row as long as the database.

A score's bin follows from its distance to that of the query's best exemplar. Each octave of distances has the same number
of bins, as in HdrHistogram. So a bin's width is at most a 64th of its distance, but for the nearest: this fits extractors
whose cosines spread from -1 to 1, and those whose cosines are all about 0.999. A bin holds how many scores it has, and the
first two moments of where these lie in it. Two points stand for a bin, with the same number, mean and variance.
"""

from pathlib import Path

import numpy as np

from attribench.common import hdf5
from attribench.common.errors import InputError

FORMAT_VERSION = 1

_MANTISSA_BITS = 6  # 64 bins in an octave
_OCTAVES = 19  # from _NEAREST to 2, the largest distance of cosines
_NEAREST = 2.0**-18  # below which all distances share a bin
SHIFT = 23 - _MANTISSA_BITS  # of a float32's bits, which leaves the exponent and the first bits of the mantissa
FIRST = int(np.float32(_NEAREST).view(np.int32)) >> SHIFT  # what it leaves of _NEAREST
SIDE = _OCTAVES << _MANTISSA_BITS  # bins above the best exemplar, and as many below
BINS = 2 * SIDE
_QUERIES = 1024  # written at a time


def _centres() -> np.ndarray:
    """Return the middle of each bin, as a distance to the best exemplar, falling: float32 [BINS]."""
    begin = (np.arange(FIRST, FIRST + SIDE + 1, dtype=np.int32) << SHIFT).view(np.float32)
    begin[0] = 0
    middle = (begin[:-1] + begin[1:]) / 2
    return np.concatenate([middle[::-1], -middle])


CENTRE = _centres()


class ScoreHistogram:
    """Hold the distribution of the scores of Q queries with the database.

    anchor: float64 [Q], the score of each query's best exemplar. moments: float32 [Q, BINS, 3], bins by falling score: the
    number of scores (float32 counts on to 16 million in a bin), the sum of their offsets from the bin's middle, and that of
    the squares of these.
    """

    def __init__(self, anchor: np.ndarray, moments: np.ndarray | None = None):
        self.anchor = anchor
        self.moments = np.zeros((len(anchor), BINS, 3), np.float32) if moments is None else moments

    def points(self, queries: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Return weighted points that stand for the scores of `queries` [q]: scores and weights, from high to low.

        Both are float64 [q, p], with two points for each bin that any of the queries has a score in. The sum over scores of
        a smooth function f is that of weight * f(score) over points, up to f's third derivative times a bin's width cubed.
        """
        chosen = self.moments[queries]
        used = chosen[..., 0].any(axis=0)
        n, first, second = np.moveaxis(chosen[:, used].astype(np.float64), -1, 0)
        counted = np.maximum(n, 1)
        mean, square = first / counted, second / counted
        spread = np.sqrt(np.maximum(square - mean**2, 0))
        middle = self.anchor[queries, None] + CENTRE[used] + mean
        scores = np.stack([middle + spread, middle - spread], axis=-1).reshape(len(n), 2 * used.sum())
        return scores, np.repeat(n / 2, 2, axis=-1)


def write_histogram(path: Path | str, histogram: ScoreHistogram, query_valid: np.ndarray, key: str = "") -> None:
    """Write the histograms of the valid queries to `path`, atomically, with the `key` of the job.

    query_valid: bool [Q], of all queries of the split; those that are not valid have empty histograms.
    """
    anchor = np.full(len(query_valid), np.nan)
    anchor[query_valid] = histogram.anchor
    row = np.cumsum(query_valid) - 1
    with hdf5.create(path, format_version=FORMAT_VERSION, key=key) as file:
        hdf5.add_array(file, "anchor", anchor)
        moments = hdf5.add_dataset(file, "moments", (len(query_valid), BINS, 3), np.float32, compressed=True)
        for start in range(0, len(query_valid), _QUERIES):  # memory holds no second copy of all
            part = slice(start, start + _QUERIES)
            block = np.zeros((len(query_valid[part]), BINS, 3), np.float32)
            block[query_valid[part]] = histogram.moments[row[part][query_valid[part]]]
            moments[part] = block


def read_histogram(path: Path | str, n_queries: int) -> ScoreHistogram:
    """Read the histograms of all queries of a split.

    Raises InputError, naming the file, when it is missing, corrupt, or not of `n_queries` queries.
    """
    with hdf5.open_checked(path, "file of score histograms") as file, hdf5.damage_as_input_error(path):
        version, shape = file.attrs.get("format_version"), (n_queries, BINS, 3)
        if version != FORMAT_VERSION:
            raise InputError(f"{path}: expected score histograms of format {FORMAT_VERSION}, found format {version}")
        hdf5.require_datasets(path, file, ("anchor", "moments"))
        if file["moments"].shape != shape or file["anchor"].shape != shape[:1]:
            raise InputError(f"{path}: moments are {list(file['moments'].shape)}; expected {list(shape)}")
        return ScoreHistogram(hdf5.read_array(file["anchor"]), hdf5.read_array(file["moments"]))
