"""influence.csv: what each method's influence says, and how well it is calibrated (docs/formats.md has the columns)."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from attribench.common.tables_io import read_table
from attribench.formats.influence import LEVELS, Influence
from attribench.formats.ranking import PRETRAINED, Method, Ranking
from attribench.tables import statistics
from attribench.tables.statistics import Resampling

COLUMNS = (
    *("benchmark", "split", "prompt_type", "extractor", "variant", "metric", "value", "ci_low", "ci_high"),
    *("n_queries", "n_entries", "calibrated_on", "note"),
)
NOT_HELD_OUT = "calibrated on this split"
_IMPOSSIBLE = "an exemplar has no influence"
_SIMULATIONS = 200  # of a calibrated method

Row = tuple[str, float, float, float]  # a metric's name, its value, and the ends of its interval


def influence_table(
    of_methods: list[tuple[Ranking, Influence]],
    benchmark: str,
    calibrated_on: Mapping[Method, Sequence[str]],
    resampling: Resampling,
    sharing: Collection[tuple[str, str]] = (),
) -> pd.DataFrame:
    """Return influence.csv: one row per split, prompt type, method and metric.

    calibrated_on: the splits, or the given file, that each method's calibrator comes from. sharing: pairs of splits that
    have images in common.
    """
    rows, of_method = [], {(ranking.split, ranking.method): influence for ranking, influence in of_methods}
    for ranking, influence in of_methods:
        on = calibrated_on[ranking.method]
        base = of_method.get((ranking.split, Method(ranking.extractor, PRETRAINED)))
        for prompt_type in ranking.prompt_types:
            chosen = ranking.query_valid & (ranking.query_prompt_type == prompt_type)
            n_entries = len(np.unique(ranking.query_entry[chosen]))
            metrics = list(_metrics(ranking, influence, chosen, resampling))
            if base is not None and ranking.variant != PRETRAINED:
                with np.errstate(invalid="ignore"):  # of two -inf
                    gain = influence.log_likelihood - base.log_likelihood
                metrics.append(
                    _of_unbounded("gain_over_pretrained", gain[chosen], ranking.query_entry[chosen], resampling)
                )
            for metric, value, low, high in metrics:
                notes = [statistics.note(n_entries), _held_out(ranking.split, on, sharing)]
                notes.append("" if math.isfinite(value) or not chosen.any() else _IMPOSSIBLE)
                head = (benchmark, ranking.split, prompt_type, *ranking.method, metric, value, low, high)
                rows.append((*head, int(chosen.sum()), n_entries, ", ".join(on), "; ".join(filter(None, notes))))
    return pd.DataFrame(rows, columns=COLUMNS)


def _held_out(split: str, on: Sequence[str], sharing: Collection[tuple[str, str]]) -> str:
    """Return the note that a split calibrates what it measures, itself or by some of its images; nothing if it does not."""
    if split in on:
        return NOT_HELD_OUT
    return "calibrated on images of this split" if any((other, split) in sharing for other in on) else ""


def read_influence_table(path: Path | str) -> pd.DataFrame:
    """Read influence.csv exactly."""
    types = dict.fromkeys((*COLUMNS[:6], "calibrated_on", "note", "label"), "object")
    return read_table(path, "table of influence", types | {"n_queries": "int64", "n_entries": "int64"}, needed=COLUMNS)


def coverage(ranking: Ranking, influence: Influence) -> np.ndarray:
    """Return how much of each query's exemplars is in its smallest set of each of LEVELS: float64 [Q, L].

    A set of a share p takes the candidates in their order, as long as they have p of the influence together, and of the last
    one a part: so a calibrated method covers p. NaN for a query without pairs.
    """
    known = influence.exemplar > 0
    missing = np.array(LEVELS) - influence.above[:, None]
    parts = np.clip(missing / np.where(known, influence.exemplar, 1)[:, None], 0, 1) * known[:, None]
    return _sums_over_pairs(ranking, parts) / np.maximum(np.diff(ranking.offsets), 1)[:, None]


def _sums_over_pairs(ranking: Ranking, values: np.ndarray) -> np.ndarray:
    """Return the sum over each query's pairs of `values` [R, n]: float64 [Q, n]; NaN for a query without pairs."""
    out = np.full((len(ranking.query_valid), values.shape[1]), np.nan)
    if ranking.query_valid.any():
        out[ranking.query_valid] = np.add.reduceat(values, ranking.offsets[:-1][ranking.query_valid], axis=0)
    return out


def _metrics(ranking: Ranking, influence: Influence, chosen: np.ndarray, resampling: Resampling) -> Iterator[Row]:
    """Yield the metrics over the queries `chosen` [Q] that need no other method."""
    entry, confidence = ranking.query_entry[chosen], resampling.confidence
    names = ("log_likelihood", "log_likelihood_uniform", "log_likelihood_uncalibrated")
    own, uniform, plain = (getattr(influence, name)[chosen] for name in names)
    likelihoods = dict(zip(names, (own, uniform, plain), strict=True))
    likelihoods["log_likelihood_ceiling"] = -np.log(np.diff(ranking.offsets)[chosen])
    likelihoods |= {"gain_over_uniform": own - uniform, "gain_over_uncalibrated": own - plain}
    for name, values in likelihoods.items():
        yield _of_unbounded(name, values, entry, resampling)
    yield _mass_on_exemplars(_sums_over_pairs(ranking, influence.exemplar[:, None])[chosen], entry, resampling)
    for level, values in zip(LEVELS, coverage(ranking, influence)[chosen].T, strict=True):
        sums, counts = statistics.column_sums(values[:, None], entry)
        [interval] = statistics.intervals(sums, counts, np.ones(1), confidence)
        yield f"coverage@{level:g}", statistics.mean(values), *interval
    sizes = {"effective_number": influence.effective_number[chosen]}
    sizes |= {
        f"set_size@{level:g}": of_level for level, of_level in zip(LEVELS, influence.set_size[chosen].T, strict=True)
    }
    for name, values in sizes.items():
        _, *logarithms = _of_unbounded(name, np.log(values), entry, resampling)
        yield name, *np.exp(logarithms).tolist()
    yield from _calibration_errors(ranking, influence, chosen, resampling)


def _of_unbounded(name: str, values: np.ndarray, entry: np.ndarray, resampling: Resampling) -> Row:
    """Return the mean over queries of `values` [q], with Student's interval; NaN where a query's is not defined."""
    if np.isnan(values).any():
        return name, math.nan, math.nan, math.nan
    return name, statistics.mean(values), *statistics.t_interval(values, entry, resampling.confidence)


def _mass_on_exemplars(values: np.ndarray, entry: np.ndarray, resampling: Resampling) -> Row:
    """Return the mean over queries of `values` [q, 1], of which most may be far below 1; by draws of entries."""
    name = "mass_on_exemplars"
    if not len(entry):
        return name, math.nan, math.nan, math.nan
    sums, counts = statistics.column_sums(values, entry)
    low, high = statistics.bootstrap(lambda draws: (draws @ sums) / (draws @ counts), len(sums), resampling)
    return name, statistics.mean(values[:, 0]), float(low[0]), float(high[0])


def _calibration_errors(
    ranking: Ranking, influence: Influence, chosen: np.ndarray, resampling: Resampling
) -> Iterator[Row]:
    """Yield half the sum over bins of |predicted - observed|, which are means over queries, and what a calibrated one has.

    NaN where there is no query.
    """
    names = ("calibration_error", "calibration_error_if_calibrated")
    if not chosen.any():
        yield from ((name, math.nan, math.nan, math.nan) for name in names)
        return
    row_of_entry = np.unique(ranking.query_entry[chosen], return_inverse=True)[1]
    n = np.bincount(row_of_entry).astype(np.float64)
    excess = sums_of_entries((influence.predicted - influence.observed)[chosen], row_of_entry)

    def error(draws: np.ndarray) -> np.ndarray:
        return np.abs(draws @ excess).sum(axis=1) / (draws @ n) / 2

    low, high = statistics.bootstrap(error, len(n), resampling)
    yield names[0], float(error(np.ones((1, len(n))))[0]), float(low), float(high)
    n_exemplars = np.diff(ranking.offsets)[chosen]
    yield (
        names[1],
        _error_if_calibrated(influence.predicted[chosen], row_of_entry, n_exemplars, resampling.seed),
        *[math.nan] * 2,
    )


def _error_if_calibrated(predicted: np.ndarray, row_of_entry: np.ndarray, n_exemplars: np.ndarray, seed: int) -> float:
    """Return the mean calibration error of simulated exemplars, which influence tells the chances of.

    predicted: float64 [q, B], the chances of an exemplar to be in each bin. n_exemplars: int64 [q]. All queries of an entry
    take the same random numbers, since they have the same exemplars.
    """
    observed, rng = np.zeros((_SIMULATIONS, predicted.shape[1])), np.random.default_rng(seed)
    rows = np.arange(_SIMULATIONS)[:, None]
    for entry in range(row_of_entry.max() + 1):
        queries = np.flatnonzero(row_of_entry == entry)
        numbers = rng.random((_SIMULATIONS, n_exemplars[queries].max()))
        for query in queries:
            m = n_exemplars[query]
            bins = np.searchsorted(np.cumsum(predicted[query])[:-1], numbers[:, :m], side="right")
            np.add.at(observed, (rows, bins), 1 / m)
    return float(np.abs(predicted.sum(axis=0) - observed).sum(axis=1).mean() / len(predicted) / 2)


def sums_of_entries(values: np.ndarray, row_of_entry: np.ndarray) -> np.ndarray:
    """Return the sums of the rows of `values` [q, n] by the number of their entry, `row_of_entry` [q]: float64 [M, n]."""
    out = np.zeros((row_of_entry.max() + 1, values.shape[1]))
    np.add.at(out, row_of_entry, values)
    return out
