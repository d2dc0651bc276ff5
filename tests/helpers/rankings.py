"""Rankings made up for tests, without features."""

from collections.abc import Sequence

import numpy as np
from attribench.formats.ranking import Ranking
from attribench.tables.statistics import Resampling

RESAMPLING = Resampling(samples=300)


def text(values) -> np.ndarray:
    """Return `values`, nested or not, as an array of text."""
    return np.array(values, dtype=object)


def make_ranking(
    ranks: Sequence[Sequence[int]], query_entry: Sequence[int], prompt_type: Sequence[str], k: int = 4, **changes
) -> Ranking:
    """Return a ranking with the `ranks` of each query's exemplars; a query without any is invalid.

    The database has 100 images, and a query `k` neighbours. `changes` are other values of the record's fields.
    """
    n_queries, entry = len(ranks), np.array(query_entry, np.int64)
    lengths = np.array([len(of_query) for of_query in ranks], np.int64)
    n_exemplars = np.array([lengths[entry == e].max() for e in range(entry.max(initial=-1) + 1)], np.int64)
    first = np.cumsum(n_exemplars) - n_exemplars
    flat = np.array([rank for of_query in ranks for rank in of_query], np.int64)
    fields = {
        **{"split": "style", "extractor": "clip", "variant": "pretrained"},
        "query_path": text([f"q/{q}.png" for q in range(n_queries)]),
        "query_prompt_type": text(prompt_type),
        "query_entry": entry,
        "query_valid": lengths > 0,
        "exemplar_path": text([f"e/{e}.png" for e in range(n_exemplars.sum())]),
        "exemplar_entry": np.repeat(np.arange(len(n_exemplars)), n_exemplars),
        "exemplar_valid": np.ones(n_exemplars.sum(), bool),
        "class_id": text([str(e) for e in range(len(n_exemplars))]),
        "category": text([""] * len(n_exemplars)),
        "offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        "ranks": flat,
        "scores": 1 - flat / 200,
        "exemplar": np.concatenate([first[e] + np.arange(n) for e, n in zip(entry, lengths, strict=True)] or [flat]),
        "neighbour_index": np.arange(n_queries * k).reshape(n_queries, k),
        "neighbour_score": np.tile(0.999 - np.arange(k) / 10, (n_queries, 1)),
        "neighbour_path": text([[f"d/{q}{i}.png" for i in range(k)] for q in range(n_queries)]).reshape(n_queries, k),
        **{"n_database": 100, "n_database_invalid": 0, "hard_negatives": False},
        "sizes": np.zeros(0, np.int64),
        "n_database_at": np.zeros(0, np.int64),
        "ranks_at": np.zeros((0, len(flat)), np.int64),
    }
    return Ranking(**fields | changes)


def four_entries(
    extractor: str,
    seed: int,
    split: str = "zoo",
    prompt_types: Sequence[str] = ("object", "gpt"),
    sizes: Sequence[int] = (10, 50),
    near: Sequence[tuple[str, str, float]] = (),
    n_entries: int = 4,
) -> Ranking:
    """Return a ranking of 4 entries with 1 to 4 exemplars and 2 queries a prompt type; 3 of 100 images are invalid.

    More entries have 1 to 4 exemplars again.

    At a size, the i-th exemplar's rank is i plus a count that rises with the exemplar and with the size.
    """
    rng = np.random.default_rng(seed)
    entry = np.repeat(np.arange(n_entries), 2 * len(prompt_types))
    counts = np.sort(rng.integers(0, 4, size=(len(sizes) + 1, 4)), axis=1)
    by_size = np.cumsum(counts, axis=0) + np.arange(1, 5)  # an exemplar's rank at each size, and in the whole database
    return make_ranking(
        [by_size[-1, : e % 4 + 1] for e in entry],
        entry,
        np.tile(np.repeat(prompt_types, 2), n_entries).tolist(),
        split=split,
        extractor=extractor,
        query_path=text([f"{split}/{i}.png" for i in range(len(entry))]),
        exemplar_path=text([f"{i}.jpg" for i in range(sum(e % 4 + 1 for e in range(n_entries)))]),
        n_database=97,
        n_database_invalid=3,
        sizes=np.array(sizes, np.int64),
        n_database_at=np.array(sizes, np.int64) - 3,
        ranks_at=np.concatenate([by_size[:-1, : e % 4 + 1] for e in entry], axis=1),
        near_duplicates=near,
    )
