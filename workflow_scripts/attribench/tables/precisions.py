"""The table of what extracting in another precision does to ranks and mAP (docs/formats.md has the columns)."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from attribench.formats.ranking import Ranking
from attribench.metrics import average_precision
from attribench.tables import statistics
from attribench.tables.statistics import Resampling

PRECISION_COLUMNS = (
    *("benchmark", "split", "prompt_type", "extractor", "variant", "precision", "reference", "n_queries", "n_entries"),
    *("n_ranks", "n_changed", "share_changed", "median_change", "largest_change"),
    *("mAP", "mAP_reference", "difference", "ci_low", "ci_high", "note"),
)


def precisions_table(
    rankings: Iterable[Ranking], compared: Iterable[Sequence[str]], benchmark: str, resampling: Resampling
) -> pd.DataFrame:
    """Return precisions.csv: one row per split, prompt type, extractor, variant and precision; empty where none is compared.

    compared: (name that the extractor has in the precision, extractor, precision, precision of the extractor).
    """
    by_split: dict[str, dict[tuple[str, str], Ranking]] = {}
    for ranking in rankings:
        by_split.setdefault(ranking.split, {})[ranking.method] = ranking
    rows: list[dict] = []
    for split, methods in by_split.items():
        names, pairs = [], []
        for name, extractor, precision, reference in compared:
            for variant in [method.variant for method in methods if method.extractor == name]:
                names.append(
                    {"extractor": extractor, "variant": variant, "precision": precision, "reference": reference}
                )
                pairs.append((methods[name, variant], methods[extractor, variant]))
        for prompt_type in pairs[0][0].prompt_types if pairs else ():
            head = {"benchmark": benchmark, "split": split, "prompt_type": prompt_type}
            numbers = _compare(pairs, prompt_type, resampling)
            rows += [head | name | row for name, row in zip(names, numbers, strict=True)]
    return pd.DataFrame(rows, columns=PRECISION_COLUMNS)


def _compare(pairs: list[tuple[Ranking, Ranking]], prompt_type: str, resampling: Resampling) -> list[dict]:
    """Return the numbers of each pair (rankings of the same queries) over the queries of `prompt_type` that both ranked."""
    chosen = pairs[0][0].query_prompt_type == prompt_type
    own, reference = (np.stack([_average_precision(pair[i])[chosen] for pair in pairs], axis=1) for i in (0, 1))
    differences = statistics.paired_differences(own, reference, pairs[0][0].query_entry[chosen], resampling)
    rows = []
    for pair, own_ap, reference_ap, difference in zip(pairs, own.T, reference.T, differences, strict=True):
        change = np.abs(rank_changes(*pair, chosen))
        n_ranks, n_changed = len(change), int((change > 0).sum())
        both = ~np.isnan(own_ap - reference_ap)
        rows.append(
            {
                "n_queries": difference.n_queries,
                "n_entries": difference.n_entries,
                "n_ranks": n_ranks,
                "n_changed": n_changed,
                "share_changed": n_changed / n_ranks if n_ranks else np.nan,
                "median_change": float(np.median(change)) if n_ranks else np.nan,
                "largest_change": int(change.max()) if n_ranks else pd.NA,
                "mAP": statistics.mean(own_ap[both]),
                "mAP_reference": statistics.mean(reference_ap[both]),
                "difference": difference.value,
                "ci_low": difference.ci_low,
                "ci_high": difference.ci_high,
                "note": statistics.note(difference.n_entries),
            }
        )
    return rows


def rank_changes(ranking: Ranking, reference: Ranking, chosen: np.ndarray) -> np.ndarray:
    """Return rank less the rank in `reference`, int64 [n], of each exemplar of the queries `chosen` (bool [Q]).

    An exemplar is compared with itself: if two exemplars of a query swap ranks, both ranks changed. Pairs that only one
    of the rankings has are left out.
    """
    n_exemplars = len(ranking.exemplar_path)
    numbers = (r.query * n_exemplars + r.exemplar for r in (ranking, reference))  # of query and exemplar
    both, row, reference_row = np.intersect1d(*numbers, assume_unique=True, return_indices=True)
    changes = ranking.ranks[row] - reference.ranks[reference_row]
    return changes[chosen[both // n_exemplars]]


def _average_precision(ranking: Ranking) -> np.ndarray:
    return average_precision(ranking.offsets, ranking.ranks)
