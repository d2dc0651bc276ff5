"""Sentences of captions: what was ranked, over how many queries, with which settings."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from attribench.formats.ranking import Ranking
from attribench.plots.ranks import prompt_types
from attribench.tables.statistics import NO_INTERVAL

BESIDE = "Vertical lines, beside each other where one would hide another,"  # where intervals stand


def caption(*sentences: str) -> str:
    """Return the `sentences` that are not empty as one paragraph."""
    return " ".join(sentence.strip() for sentence in sentences if sentence.strip())


def count(n: int, one: str, several: str = "") -> str:
    """Return `n` with its noun: `1 query`, `1,500 images`."""
    return f"{n:,} {one if n == 1 else several or f'{one}s'}"


def listing(names: Iterable[object]) -> str:
    """Return `names` as a sentence lists them: `5, 10 and 100`."""
    words = [str(name) for name in names]
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def interval_name(confidence: float) -> str:
    """Return `95 % interval`, what the legend calls an interval of `confidence` in (0, 1)."""
    return f"{100 * confidence:.4g} % interval"


def protocol(rankings: Sequence[Ranking]) -> str:
    """Return what each query ranks, and over how many valid queries of how many entries a mean goes, by prompt type."""
    least, most = (pick(ranking.n_database for ranking in rankings) for pick in (min, max))
    images = count(most, "database image") if least == most else f"{least:,} to {most:,} database images"
    has_hard_negatives = any(ranking.hard_negatives for ranking in rankings)
    others = "all exemplars of the split (hard negatives)" if has_hard_negatives else "the query's own exemplars"
    by_count: dict[str, list[str]] = {}
    for name in prompt_types(rankings):
        by_count.setdefault(_queries(rankings, name), []).append(name or "queries")
    counts = [f"{listing(names)}: {n}{' each' * (len(names) > 1)}" for n, names in by_count.items()]
    return f"Ranked: {images} and {others}; {'; '.join(counts)}."


def _queries(rankings: Sequence[Ranking], prompt_type: str) -> str:
    """Return the numbers of queries of `prompt_type` that are valid for all methods, and of their entries."""
    first = rankings[0]
    valid = np.all([ranking.query_valid for ranking in rankings], axis=0) & (first.query_prompt_type == prompt_type)
    n_entries = len(np.unique(first.query_entry[valid]))
    return f"{count(int(valid.sum()), 'query', 'queries')} of {count(n_entries, 'entry', 'entries')}"


def intervals(
    data: pd.DataFrame,
    confidence: float,
    of: str = "of the mean (Wilson score, over entries)",
    where: str = "Intervals",
) -> str:
    """Return what the intervals in the columns ci_low and ci_high of `data` are: `of` what, and `where` they stand."""
    known = data["ci_low"].notna()
    value = data["value"] if "value" in data else data["ci_low"].fillna(0)
    parts = [f"{where} are {100 * confidence:.4g} % intervals {of}."] if known.any() else []
    if (~known & value.notna()).any():
        parts.append(f"Where none is drawn: {NO_INTERVAL}.")
    return " ".join(parts)
