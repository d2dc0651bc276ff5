"""The table of what extracting in another precision does to ranks and mAP (docs/formats.md has the columns)."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from attribench import statistics
from attribench.metrics import average_precision
from attribench.rank_file import RankFile
from attribench.tables import Resampling

PRECISION_COLUMNS = (
    *("benchmark", "split", "prompt_type", "extractor", "variant", "precision", "reference", "n_queries", "n_entries"),
    *("n_ranks", "n_changed", "share_changed", "median_change", "largest_change"),
    *("mAP", "mAP_reference", "difference", "ci_low", "ci_high"),
)


def precisions_table(
    rank_files: Iterable[RankFile], compared: Iterable[Sequence[str]], benchmark: str, resampling: Resampling
) -> pd.DataFrame:
    """precisions.csv: one row a split, prompt type, extractor, variant and precision; empty where nothing is compared.

    compared: (name that the extractor has in the precision, extractor, precision, precision of the extractor).
    """
    files = {(content.split, content.extractor, content.variant): content for content in rank_files}
    rows: list[dict] = []
    for split in dict.fromkeys(split for split, _, _ in files):
        about, pairs = [], []
        for name, extractor, precision, reference in compared:
            for variant in [v for s, e, v in files if (s, e) == (split, name)]:
                about.append(
                    {"extractor": extractor, "variant": variant, "precision": precision, "reference": reference}
                )
                pairs.append((files[split, name, variant], files[split, extractor, variant]))
        for prompt_type in dict.fromkeys(pairs[0][0].query_prompt_type) if pairs else ():
            head = {"benchmark": benchmark, "split": split, "prompt_type": prompt_type}
            found = _compare(pairs, prompt_type, resampling)
            rows += [{**head, **names, **numbers} for names, numbers in zip(about, found, strict=True)]
    return pd.DataFrame(rows, columns=PRECISION_COLUMNS)


def _compare(pairs: list[tuple[RankFile, RankFile]], prompt_type: str, resampling: Resampling) -> list[dict]:
    """The numbers of each pair (rankings of the same queries) over the queries of `prompt_type` that both ranked."""
    chosen = pairs[0][0].query_prompt_type == prompt_type
    precisions = [np.stack([_average_precision(pair[i])[chosen] for pair in pairs], axis=1) for i in (0, 1)]
    entry = pairs[0][0].query_entry[chosen]
    differences = statistics.paired_differences(*precisions, entry, **resampling.options())
    rows = []
    for pair, own, reference, difference in zip(pairs, *(values.T for values in precisions), differences, strict=True):
        change = np.abs(rank_changes(*pair, chosen))
        both = ~np.isnan(own - reference)
        moved = change[change > 0]
        rows.append(
            {
                "n_queries": difference.n_queries,
                "n_entries": difference.n_entries,
                "n_ranks": len(change),
                "n_changed": len(moved),
                "share_changed": len(moved) / len(change) if len(change) else np.nan,
                "median_change": float(np.median(change)) if len(change) else np.nan,
                "largest_change": int(change.max()) if len(change) else pd.NA,
                "mAP": statistics.mean(own[both]),
                "mAP_reference": statistics.mean(reference[both]),
                "difference": difference.value,
                "ci_low": difference.ci_low,
                "ci_high": difference.ci_high,
            }
        )
    return rows


def rank_changes(content: RankFile, reference: RankFile, chosen: np.ndarray) -> np.ndarray:
    """Rank less the rank in `reference`, int64 [R], of each exemplar of the queries `chosen` (bool [Q]).

    An exemplar is compared with itself: that two exemplars of a query change places is a change of both ranks. What only
    one of the two could rank is left out.
    """
    (keys, ranks), (other_keys, other_ranks) = _ranks_by_exemplar(content), _ranks_by_exemplar(reference)
    both, here, there = np.intersect1d(keys, other_keys, assume_unique=True, return_indices=True)
    changes = ranks[here] - other_ranks[there]
    return changes[chosen[both // len(content.exemplar_path)]]


def _ranks_by_exemplar(content: RankFile) -> tuple[np.ndarray, np.ndarray]:
    """A number for each pair of a query and its exemplar, and the rank there: both int64 [R]."""
    ranking = content.ranking
    query = np.repeat(np.arange(len(content.query_path)), np.diff(ranking.offsets))
    return query * len(content.exemplar_path) + ranking.exemplar, ranking.ranks


def _average_precision(content: RankFile) -> np.ndarray:
    return average_precision(content.ranking.offsets, content.ranking.ranks)
