"""Standings of methods whose ranks are all known, by way of the tables that a run writes."""

from collections.abc import Mapping, Sequence

import pandas as pd
from attribench.formats.ranking import Method
from attribench.metrics import query_table
from attribench.tables import tables
from attribench.tables.standings import Standing, standings
from attribench.tables.statistics import Resampling
from helpers.rankings import make_ranking

Ranks = Mapping[str, Mapping[str, Sequence[int]]]  # method -> prompt type -> the rank of each entry's one exemplar


def summary_and_comparisons(
    ranks: Ranks, split: str = "zoo", recall_ks: Sequence[int] = (5,), seen: str = "no"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both tables of methods called EXTRACTOR or EXTRACTOR_VARIANT; an entry has a query of each prompt type."""
    made = {}
    for name, of_prompt in ranks.items():
        extractor, _, variant = name.partition("_")
        prompts = [prompt for prompt, of_entries in of_prompt.items() for _ in of_entries]
        entries = [entry for of_entries in of_prompt.values() for entry, _ in enumerate(of_entries)]
        flat = [[rank] for of_entries in of_prompt.values() for rank in of_entries]
        names = {"split": split, "extractor": extractor, "variant": variant or "pretrained"}
        made[split, extractor, variant or "pretrained"] = query_table(
            make_ranking(flat, entries, prompts, **names), recall_ks
        )
    settings = "sample", list(recall_ks), Resampling(samples=1000)
    labels = {Method(*method): "_".join(m for m in method if m != "pretrained") for _, *method in made}
    both = tables.summary_table(made, *settings), tables.comparisons_table(made, *settings)
    seen_of = dict.fromkeys(made, seen)
    return tuple(tables.with_seen(tables.with_labels(table, labels), seen_of) for table in both)


def made_standings(ranks: Ranks, **options) -> list[Standing]:
    """Return the standings of `summary_and_comparisons`, at 95 %."""
    return standings(*summary_and_comparisons(ranks, **options), 0.95)
