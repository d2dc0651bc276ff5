"""Facts about a run's data: how many exemplars entries have, and what was checked for copies."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pandas as pd

from attribench.formats.ranking import Ranking
from attribench.plots.captions import count, listing
from attribench.tables.standings import Standing

_COPY = 1e-6  # as near to a cosine of 1 as the features of a copy are


def exemplar_counts(rankings: Sequence[Ranking]) -> Iterator[str]:
    """Return how many exemplars the entries of each split have, from their queries; `rankings` has one of each split."""
    for ranking in rankings:
        _, query = np.unique(ranking.query_entry, return_index=True)
        n = np.diff(ranking.offsets)[query]
        few, many = int(n.min()), int(n.max())
        sizes = count(many, "exemplar") if few == many else f"{few} to {many} exemplars (median {np.median(n):g})"
        note = " With one exemplar, average precision is one over its rank." if n.max() == 1 else ""
        whose = "The entry" if len(n) == 1 else f"Each of the {len(n)} entries"
        yield f"{whose} of {ranking.split} has {sizes}.{note}"


def checked_overlap(standings: Sequence[Standing], tuned: Collection[str]) -> list[str]:
    """Return what was checked before the variants `tuned`, of the workflow's own training, ranked other splits."""
    checked = [
        (standing.split, mean.method.variant)
        for standing in standings
        for mean in standing.means
        if mean.seen == "no" and mean.method.variant in tuned
    ]
    if not checked:
        return []
    splits, variants = (listing(dict.fromkeys(names)) for names in zip(*checked, strict=True))
    verb = "are" if " and " in variants else "is"
    return [
        f"No image of {splits} is one that {variants} {verb} tuned on: all were compared by path, content and "
        "features (stage overlap). A near duplicate by features stops the run, unless the variant allows it."
    ]


def near_duplicates_found(table: pd.DataFrame) -> str:
    """Return how many near duplicates of exemplars the database has, from near_duplicates.csv."""
    where = "near_duplicates.csv lists the pairs of an exemplar and a database image that are most alike to each method"
    if table.empty:
        return f"{where}: none."
    pair = ["split", "exemplar", "database_image"]
    pairs = table.groupby(pair, sort=False)["similarity"].max()
    counts = [f"{n} on {split}" for split, n in pairs.groupby("split", sort=False).size().items()]
    copies = int((pairs >= 1 - _COPY).sum())
    return (
        f"{where}: {listing(counts)}, each counted once, {copies or 'none'} of them copies. They are ranked like all "
        "others; a copy would make false misses."
    )
