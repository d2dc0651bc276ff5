"""The record of a split's influence by one method, and its file (docs/formats.md)."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from attribench.common import hdf5
from attribench.common.errors import InputError
from attribench.formats.calibrator import Calibrator
from attribench.formats.ranking import Ranks

FORMAT_VERSION = 1
LEVELS = (0.5, 0.8, 0.9, 0.95)  # of the influence that a smallest set holds
# Influence is put into bins: two for each power of ten, then three from 0.1 on; the first one takes all that is lower.
RELIABILITY_EDGES = np.concatenate([[0.0], 10.0 ** (np.arange(-16, -2) / 2), [0.1, 0.3, 0.6, 1.0]])
N_BINS = len(RELIABILITY_EDGES) - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Influence:
    """Hold the influence of one split's candidates by one method, and what it says about each query.

    Letters are those of `Ranks`; L is the number of LEVELS, B that of reliability bins. For a query that is not valid, every
    number is NaN.
    """

    exemplar: np.ndarray  # float64 [R], influence of each pair's exemplar
    above: np.ndarray  # float64 [R], influence of all candidates that rank above it
    top: np.ndarray  # float64 [Q, k], influence of the candidates at positions 1 to k of the ranking; NaN pads
    remaining: np.ndarray  # float64 [Q], influence of all others
    effective_number: np.ndarray  # float64 [Q], exponential of the entropy of a query's influence
    log_likelihood: np.ndarray  # float64 [Q], mean over the exemplars of the logarithm of their influence
    log_likelihood_uniform: np.ndarray  # float64 [Q], the same where all candidates have the same influence
    log_likelihood_uncalibrated: np.ndarray  # float64 [Q], the same of the softmax of the scores
    set_size: (
        np.ndarray
    )  # float64 [Q, L], candidates in the smallest set that holds so much of the influence; the last in part
    in_bin: np.ndarray  # float64 [Q, B], how many candidates have an influence that is in a bin
    predicted: np.ndarray  # float64 [Q, B], the influence of these
    observed: np.ndarray  # float64 [Q, B], the share of the exemplars that are among these


def shapes(ranks: Ranks) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array of the influence that belongs to `ranks`, by name."""
    n_queries, k = ranks.neighbour_index.shape
    of_pairs = dict.fromkeys(("exemplar", "above"), ranks.ranks.shape)
    of_bins = dict.fromkeys(("in_bin", "predicted", "observed"), (n_queries, N_BINS))
    others = {"top": (n_queries, k), "set_size": (n_queries, len(LEVELS)), **of_pairs, **of_bins}
    return {field.name: others.get(field.name, (n_queries,)) for field in fields(Influence)}


def write_influence(path: Path | str, influence: Influence, calibrator: Calibrator, key: str = "") -> None:
    """Write `influence`, which `calibrator` gave, to `path`, atomically, with the `key` of the job."""
    attributes = {"format_version": FORMAT_VERSION, "levels": LEVELS, "edges": RELIABILITY_EDGES, "key": key}
    with hdf5.create(path, **attributes, **calibrator._asdict()) as file:
        for name, values in vars(influence).items():
            hdf5.add_array(file, name, values)


def read_influence(path: Path | str, ranks: Ranks) -> Influence:
    """Read the influence of the candidates of `ranks`.

    Raises InputError, naming the file, when it is missing, corrupt, or belongs to other ranks.
    """
    with hdf5.open_checked(path, "file of influence") as file, hdf5.damage_as_input_error(path):
        version, expected = file.attrs.get("format_version"), shapes(ranks)
        if version != FORMAT_VERSION:
            raise InputError(f"{path}: expected influence of format {FORMAT_VERSION}, found format {version}")
        hdf5.require_datasets(path, file, expected)
        for name, shape in expected.items():
            if file[name].shape != shape:
                raise InputError(f"{path}: {name} is {list(file[name].shape)}; expected {list(shape)}, as the ranks")
        return Influence(**{name: hdf5.read_array(file[name]) for name in expected})
