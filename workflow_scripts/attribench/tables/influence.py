"""influence.csv: what each method's influence says, and how well it is calibrated (docs/formats.md has the columns)."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from attribench.formats.influence import LEVELS, Influence
from attribench.formats.ranking import Method, Ranking
from attribench.tables import statistics
from attribench.tables.statistics import Resampling

COLUMNS = (
    *("benchmark", "split", "prompt_type", "extractor", "variant", "metric", "value", "ci_low", "ci_high"),
    *("n_queries", "n_entries", "calibrated_on", "note"),
)

_NOT_HELD_OUT = "calibrated on this split"


def influence_table(
    of_methods: list[tuple[Ranking, Influence]],
    benchmark: str,
    calibrated_on: Mapping[Method, str],
    resampling: Resampling,
) -> pd.DataFrame:
    """Return influence.csv: one row per split, prompt type, method and metric.

    calibrated_on: the splits, or the given file, that each method's calibrator comes from.
    """
    rows = []
    for ranking, influence in of_methods:
        on = calibrated_on[ranking.method]
        is_own = ranking.split in on.split(", ")
        for prompt_type in ranking.prompt_types:
            chosen = ranking.query_valid & (ranking.query_prompt_type == prompt_type)
            entry = ranking.query_entry[chosen]
            n_entries = len(np.unique(entry))
            note = "; ".join(filter(None, [statistics.note(n_entries), _NOT_HELD_OUT if is_own else ""]))
            for metric, *numbers in _metrics(ranking, influence, chosen, resampling):
                head = (benchmark, ranking.split, prompt_type, *ranking.method, metric)
                rows.append((*head, *numbers, int(chosen.sum()), n_entries, on, note))
    return pd.DataFrame(rows, columns=COLUMNS)


def coverage(ranking: Ranking, influence: Influence) -> np.ndarray:
    """Return the share of each query's exemplars that are in its smallest set of each of LEVELS: float64 [Q, L].

    An exemplar is in the set that holds a share p of the influence where what ranks above it has less than p.
    """
    is_in = (influence.above[:, None] < np.array(LEVELS)) & (influence.exemplar > 0)[:, None]
    return means_over_pairs(ranking, is_in.astype(np.float64))


def means_over_pairs(ranking: Ranking, values: np.ndarray) -> np.ndarray:
    """Return the mean over each query's pairs of `values` [R, n]: float64 [Q, n]; NaN for a query without pairs."""
    out = np.full((len(ranking.query_valid), values.shape[1]), np.nan)
    starts = ranking.offsets[:-1][ranking.query_valid]
    if len(starts):
        counts = np.diff(ranking.offsets)[ranking.query_valid]
        out[ranking.query_valid] = np.add.reduceat(values, starts, axis=0) / counts[:, None]
    return out


def _metrics(
    ranking: Ranking, influence: Influence, chosen: np.ndarray, resampling: Resampling
) -> Iterator[tuple[str, float, float, float]]:
    """Yield the name of each metric, its value over the queries `chosen` [Q], and its interval."""
    entry, confidence = ranking.query_entry[chosen], resampling.confidence
    own, uniform, plain = (
        getattr(influence, f"log_likelihood{end}")[chosen] for end in ("", "_uniform", "_uncalibrated")
    )
    of_queries = {
        "log_likelihood": own,
        "log_likelihood_uniform": uniform,
        "log_likelihood_uncalibrated": plain,
        "gain_over_uniform": own - uniform,
        "gain_over_uncalibrated": own - plain,
    }
    for name, values in of_queries.items():
        yield name, statistics.mean(values), *statistics.t_interval(values, entry, confidence)
    shares = {"mass_on_exemplars": _mass(ranking, influence)}
    shares |= {
        f"coverage@{level:g}": of_level for level, of_level in zip(LEVELS, coverage(ranking, influence).T, strict=True)
    }
    for name, values in shares.items():
        sums, counts = statistics.column_sums(values[chosen, None], entry)
        [interval] = statistics.intervals(sums, counts, np.ones(1), confidence)
        yield name, statistics.mean(values[chosen]), *interval
    sizes = {"effective_number": influence.effective_number}
    sizes |= {f"set_size@{level:g}": of_level for level, of_level in zip(LEVELS, influence.set_size.T, strict=True)}
    for name, values in sizes.items():
        logs = np.log(values[chosen])
        yield name, *np.exp([statistics.mean(logs), *statistics.t_interval(logs, entry, confidence)]).tolist()
    yield "calibration_error", *_calibration_error(influence, chosen, entry, resampling)


def _mass(ranking: Ranking, influence: Influence) -> np.ndarray:
    """Return the influence of each query's exemplars together, float64 [Q]."""
    return means_over_pairs(ranking, influence.exemplar[:, None])[:, 0] * np.diff(ranking.offsets)


def _calibration_error(
    influence: Influence, chosen: np.ndarray, entry: np.ndarray, resampling: Resampling
) -> tuple[float, float, float]:
    """Return half the sum over bins of |predicted - observed|, which are means over queries, and its interval.

    NaN where there is no query.
    """
    if not len(entry):
        return math.nan, math.nan, math.nan
    numbers, position = np.unique(entry, return_inverse=True)
    n = np.bincount(position).astype(np.float64)
    excess = sums_of_entries((influence.predicted - influence.observed)[chosen], position)

    def error(draws: np.ndarray) -> np.ndarray:
        return np.abs(draws @ excess).sum(axis=1) / (draws @ n) / 2

    low, high = statistics.bootstrap(error, len(numbers), resampling)
    return float(error(np.ones((1, len(numbers))))[0]), float(low), float(high)


def sums_of_entries(values: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Return the sums of the rows of `values` [q, n] by the number of their entry, `position` [q]: float64 [M, n]."""
    out = np.zeros((position.max() + 1, values.shape[1]))
    np.add.at(out, position, values)
    return out
