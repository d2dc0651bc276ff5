"""Average precision and recall of every query, from its exemplars' ranks, and what chance and a perfect ranking give.

Ranks come as in a `Ranking`: query q of Q owns ranks[offsets[q]:offsets[q + 1]], 1-based and rising, among a database
and its own m exemplars. Results are the same on every machine: sums are correctly rounded (`math.fsum`).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import digamma

from attribench.common.tables_io import read_table
from attribench.formats.ranking import Ranking

# The columns of a metrics file before the metrics', with their types. Those of metrics are float64.
COLUMNS = {
    **{"query": "object", "prompt_type": "object", "entry": "int64", "class_id": "object", "category": "object"},
    **{"valid": "bool", "n_exemplars": "int64", "n_candidates": "int64", "best_rank": "Int64"},
}


def average_precision(offsets: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return the average precision float64 [Q]: the mean over the query's m exemplars of i / r_i, i = 1..m.

    offsets: int64 [Q + 1]; ranks: int64 [R], rising within a query. NaN for a query without ranks.
    """
    lengths = np.diff(offsets)
    position = np.arange(len(ranks)) - np.repeat(offsets[:-1], lengths) + 1
    terms = (position / ranks).tolist()
    spans = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    return np.array([math.fsum(terms[a:b]) / (b - a) if b > a else math.nan for a, b in spans], dtype=np.float64)


def recall_at(offsets: np.ndarray, ranks: np.ndarray, ks: list[int]) -> np.ndarray:
    """Return recall float64 [Q, len(ks)]: the share of the query's exemplars with rank at most k; NaN without ranks."""
    lengths = np.diff(offsets)
    hits = np.zeros((len(ranks) + 1, len(ks)), np.int64)
    np.cumsum(ranks[:, None] <= np.asarray(ks, np.int64)[None, :], axis=0, out=hits[1:])
    with np.errstate(invalid="ignore"):
        return (hits[offsets[1:]] - hits[offsets[:-1]]) / lengths[:, None]


def chance_recall(k, n_candidates):
    """Return the expected recall@k of a random order of n candidates: min(k, n) / n, however many are exemplars."""
    return np.minimum(k, n_candidates) / n_candidates


def ceiling_recall(k, n_exemplars):
    """Return the largest recall@k that m exemplars allow: min(k, m) / m."""
    return np.minimum(k, n_exemplars) / n_exemplars


def chance_average_precision(n_exemplars, n_candidates):
    """Return the expected average precision of a random order of n candidates with m exemplars; arrays or numbers, m <= n.

    (1 / n) (H_n + (m - 1) / (n - 1) (n - H_n)) with the harmonic number H_n = digamma(n + 1) + Euler's constant. An
    exemplar is at rank r with probability 1 / n; given that, each of the r - 1 candidates above it is one of the other
    m - 1 exemplars with probability (m - 1) / (n - 1); so the precision there is (1 + (r - 1)(m - 1) / (n - 1)) / r.
    """
    m, n = np.asarray(n_exemplars, np.float64), np.asarray(n_candidates, np.float64)
    harmonic = digamma(n + 1) + np.euler_gamma
    return (harmonic + (m - 1) / np.maximum(n - 1, 1) * (n - harmonic)) / n


@dataclass(frozen=True)
class Metric:
    """Define a metric: its names, how it follows from ranks, and what chance and a perfect ranking give.

    name: what tables call its mean. column: its column in the metrics file. of_queries: takes (offsets, ranks) and returns
    each query's value, float64 [Q], from 0 to 1; NaN for a query without ranks. chance, ceiling: take arrays, the number of
    exemplars m and of candidates n of each query, and return a value for each. cut_off: k, of a metric of the first k
    positions, which is the same for every ranking from k = n on. published: whether SPLIT.csv has it, whose columns are
    those of the published benchmark.
    """

    name: str
    column: str
    of_queries: Callable[[np.ndarray, np.ndarray], np.ndarray]
    chance: Callable[[np.ndarray, np.ndarray], np.ndarray]
    ceiling: Callable[[np.ndarray, np.ndarray], np.ndarray]
    cut_off: int | None = None
    published: bool = False


def all_metrics(recall_ks: Sequence[int]) -> list[Metric]:
    """Return the metrics of the tables, in their order: recall at each of `recall_ks`, then mAP."""
    return [*map(_recall, recall_ks), _MEAN_AVERAGE_PRECISION]


def _recall(k: int) -> Metric:
    return Metric(
        *(f"recall@{k}", f"recall@{k}"),
        of_queries=lambda offsets, ranks: recall_at(offsets, ranks, [k])[:, 0],
        chance=lambda m, n: chance_recall(k, n),
        ceiling=lambda m, n: ceiling_recall(k, m),
        cut_off=k,
        published=True,
    )


_MEAN_AVERAGE_PRECISION = Metric(
    *("mAP", "AP"),
    of_queries=average_precision,
    chance=chance_average_precision,
    ceiling=lambda m, n: np.ones(len(m)),
    published=True,
)


def least_candidates(tables: Iterable[pd.DataFrame]) -> int | None:
    """Return the fewest candidates of a valid query in tables of queries; None where no query is valid."""
    least = min(
        (table.loc[table["valid"], "n_candidates"].min() for table in tables if table["valid"].any()), default=None
    )
    return None if least is None else int(least)


def telling_metrics(tables: Iterable[pd.DataFrame], recall_ks: Sequence[int]) -> list[Metric]:
    """Return those of `all_metrics` that can tell rankings apart, in all of these tables of queries.

    At a cut-off k of at least a query's number of candidates, all of them are among the first k: recall@k is 1, whatever the
    ranking.
    """
    metrics, least = all_metrics(recall_ks), least_candidates(tables)
    return [metric for metric in metrics if metric.cut_off is None or least is None or metric.cut_off < least]


def query_table(ranking: Ranking, recall_ks: Sequence[int]) -> pd.DataFrame:
    """Return the metrics file's rows (docs/formats.md), one per query, in split order.

    `n_exemplars` counts the entry's valid exemplars. For an invalid query, best_rank and the metrics are missing.
    """
    entry, valid, offsets = ranking.query_entry, ranking.query_valid, ranking.offsets
    best = np.zeros(len(entry), np.int64)
    best[valid] = ranking.ranks[offsets[:-1][valid]]
    columns = {
        "query": ranking.query_path,
        "prompt_type": ranking.query_prompt_type,
        "entry": entry,
        "class_id": ranking.class_id[entry],
        "category": ranking.category[entry],
        "valid": valid,
        "n_exemplars": ranking.n_exemplars,
        "n_candidates": ranking.n_candidates,
        "best_rank": pd.arrays.IntegerArray(best, ~valid),
    }
    # Those without a cut-off first, whatever the order of the tables.
    for metric in sorted(all_metrics(recall_ks), key=lambda metric: metric.cut_off is not None):
        columns[metric.column] = metric.of_queries(offsets, ranking.ranks)
    return pd.DataFrame({name: pd.Series(values, dtype=COLUMNS.get(name)) for name, values in columns.items()})


def read_query_table(path: Path | str) -> pd.DataFrame:
    """Read a metrics file exactly, as `query_table` made it.

    Raises InputError, naming the file, when it is missing, lacks a column, or has a value that is not of its column's type.
    """
    return read_table(path, "metrics file", COLUMNS, needed=COLUMNS)
