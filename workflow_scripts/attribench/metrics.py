"""Average precision and recall of every query, from its exemplars' ranks.

Ranks come as in a rank file: query q of Q owns ranks[offsets[q]:offsets[q + 1]], 1-based and rising, among a database
and its own m exemplars. Results are the same on every machine: sums are correctly rounded (`math.fsum`).
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import digamma

from attribench.errors import InputError
from attribench.rank_file import RankFile

FIXED_COLUMNS = (
    *("query", "prompt_type", "entry", "class_id", "category", "valid"),
    *("n_exemplars", "n_candidates", "best_rank", "AP"),
)
_TEXT = ("query", "prompt_type", "class_id", "category")


def recall_name(k: int) -> str:
    """The name of recall at cut-off `k` in every table."""
    return f"recall@{k}"


def average_precision(offsets: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Average precision float64 [Q]: the mean over the query's m exemplars of i / r_i, i = 1..m; NaN without ranks.

    offsets: int64 [Q + 1]; ranks: int64 [R], rising within a query.
    """
    lengths = np.diff(offsets)
    position = np.arange(len(ranks)) - np.repeat(offsets[:-1], lengths) + 1
    terms = (position / ranks).tolist()
    spans = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    return np.array([math.fsum(terms[a:b]) / (b - a) if b > a else math.nan for a, b in spans], dtype=np.float64)


def recall_at(offsets: np.ndarray, ranks: np.ndarray, ks: list[int]) -> np.ndarray:
    """Recall float64 [Q, len(ks)]: the share of the query's exemplars with rank at most k; NaN without ranks."""
    lengths = np.diff(offsets)
    found = np.zeros((len(ranks) + 1, len(ks)), np.int64)
    np.cumsum(ranks[:, None] <= np.asarray(ks, np.int64)[None, :], axis=0, out=found[1:])
    with np.errstate(invalid="ignore"):
        return (found[offsets[1:]] - found[offsets[:-1]]) / lengths[:, None]


def chance_recall(k, n_candidates):
    """Expected recall@k of a random order of `n_candidates`: min(k, n) / n, whatever the number of exemplars."""
    return np.minimum(k, n_candidates) / n_candidates


def ceiling_recall(k, n_exemplars):
    """The largest recall@k that m exemplars allow: min(k, m) / m."""
    return np.minimum(k, n_exemplars) / n_exemplars


def chance_average_precision(n_exemplars, n_candidates):
    """Expected average precision of a random order of n candidates with m exemplars; arrays or numbers, m <= n.

    (1 / n) (H_n + (m - 1) / (n - 1) (n - H_n)) with the harmonic number H_n = digamma(n + 1) + Euler's constant. An
    exemplar is at rank r with probability 1 / n; given that, each of the r - 1 candidates above it is one of the other
    m - 1 exemplars with probability (m - 1) / (n - 1); so the precision there is (1 + (r - 1)(m - 1) / (n - 1)) / r.
    """
    m, n = np.asarray(n_exemplars, np.float64), np.asarray(n_candidates, np.float64)
    harmonic = digamma(n + 1) + np.euler_gamma
    return (harmonic + (m - 1) / np.maximum(n - 1, 1) * (n - harmonic)) / n


def query_table(rank_file: RankFile, recall_ks: list[int]) -> pd.DataFrame:
    """One row a query, in split order: the metrics CSV of docs/formats.md.

    `n_exemplars` counts the entry's valid exemplars. For an invalid query, best_rank, AP and recall are missing.
    """
    ranking = rank_file.ranking
    entry, valid, offsets = rank_file.query_entry, ranking.query_valid, ranking.offsets
    n_entries = len(rank_file.class_id)
    n_exemplars = np.bincount(rank_file.exemplar_entry[rank_file.exemplar_valid], minlength=n_entries)[entry]
    best = np.zeros(len(entry), np.int64)
    best[valid] = ranking.ranks[offsets[:-1][valid]]
    columns = {
        "query": pd.Series(rank_file.query_path, dtype=object),
        "prompt_type": pd.Series(rank_file.query_prompt_type, dtype=object),
        "entry": entry,
        "class_id": pd.Series(rank_file.class_id[entry], dtype=object),
        "category": pd.Series(rank_file.category[entry], dtype=object),
        "valid": valid,
        "n_exemplars": n_exemplars,
        "n_candidates": ranking.n_database
        + (n_exemplars if rank_file.all_exemplars is None else np.full_like(n_exemplars, rank_file.all_exemplars)),
        "best_rank": pd.arrays.IntegerArray(best, ~valid),
        "AP": average_precision(offsets, ranking.ranks),
    }
    recalls = recall_at(offsets, ranking.ranks, recall_ks)
    columns |= {recall_name(k): recalls[:, i] for i, k in enumerate(recall_ks)}
    return pd.DataFrame(columns)


def read_query_table(path: Path | str) -> pd.DataFrame:
    """Read a metrics CSV exactly: text stays text (a category may be called NA), floats keep every bit.

    Raises InputError, naming the file, when it is missing or lacks a column.
    """
    try:
        text = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8").astype(object)
    except FileNotFoundError:
        raise InputError(f"{path}: the metrics file does not exist") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a metrics file ({error})") from error
    if missing := [name for name in FIXED_COLUMNS if name not in text]:
        raise InputError(f"{path}: not a metrics file, it lacks the column {', '.join(missing)}")
    try:
        return pd.DataFrame({name: _parse(name, text[name]) for name in text})
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: a value is not of its column's kind ({error})") from error


def _parse(name: str, text: pd.Series) -> pd.Series:
    if name in _TEXT:
        return text
    if name == "valid":
        truth = {"True": True, "False": False}
        return pd.Series([truth[value] for value in text], dtype=bool)
    if name == "best_rank":
        return pd.Series([int(value) if value else None for value in text], dtype="Int64")
    if name in FIXED_COLUMNS and name != "AP":
        return pd.Series([int(value) for value in text], dtype=np.int64)
    return pd.Series([float(value) if value else math.nan for value in text], dtype=np.float64)
