"""Contact sheets: queries beside the images that a method ranks nearest, and where it ranks their exemplars."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from attribench.plots.sheet import Cell, SheetRow, draw_sheet, shorten

_SHEET_SIZE, _COMPARISON_SIZE = 144, 112
_COLUMNS = [
    "split", "extractor", "variant", "query", "prompt_type", "entry", "AP",
    "panel", "position", "rank", "path", "is_exemplar", "score",
]  # fmt: skip


@dataclass(frozen=True)
class Retrieval:
    """What one method retrieved for the Q queries of one split: the parts of a rank file that a sheet shows.

    query_path, query_prompt_type: text [Q]; query_entry: int [Q]; query_valid: bool [Q]; exemplar_path: text [E];
    offsets: int [Q + 1], query q owns rows offsets[q]:offsets[q + 1] of ranks (int [R], from 1, rising), scores
    (float [R]) and exemplar (int [R], row of exemplar_path); neighbour_path: text [Q, k], database images best first,
    empty pads; neighbour_score: float [Q, k]; entry_category: text [M], may be None. Raises ValueError where the shapes
    do not fit together.
    """

    split: str
    extractor: str
    variant: str
    n_database: int
    query_path: np.ndarray
    query_prompt_type: np.ndarray
    query_entry: np.ndarray
    query_valid: np.ndarray
    exemplar_path: np.ndarray
    offsets: np.ndarray
    ranks: np.ndarray
    scores: np.ndarray
    exemplar: np.ndarray
    neighbour_path: np.ndarray
    neighbour_score: np.ndarray
    entry_category: np.ndarray | None = None
    hard_negatives: bool = False

    def __post_init__(self):
        n, r = len(self.query_path), len(self.ranks)
        lengths = {name: n for name in ("query_prompt_type", "query_entry", "query_valid", "neighbour_path")}
        lengths |= {"neighbour_score": n, "offsets": n + 1, "scores": r, "exemplar": r}
        for name, length in lengths.items():
            if len(getattr(self, name)) != length:
                raise ValueError(f"{self.method}: {name} has {len(getattr(self, name))} rows, expected {length}")
        if np.shape(self.neighbour_path) != np.shape(self.neighbour_score):
            raise ValueError(f"{self.method}: neighbour_path and neighbour_score differ in shape")
        if self.offsets[0] != 0 or self.offsets[-1] != r or np.any(np.diff(self.offsets) < 0):
            raise ValueError(f"{self.method}: offsets do not cut the {r} ranks into queries")

    @classmethod
    def from_rank_file(cls, content) -> "Retrieval":
        """The part of `content`, a `rank_file.RankFile`, that a sheet needs."""
        ranking = content.ranking
        names = ("split", "extractor", "variant", "query_path", "query_prompt_type", "query_entry", "exemplar_path")
        return cls(
            **{name: getattr(content, name) for name in (*names, "neighbour_path")},
            **{name: getattr(ranking, name) for name in ("n_database", "query_valid", "offsets", "ranks", "scores")},
            exemplar=ranking.exemplar,
            neighbour_score=ranking.neighbour_score,
            entry_category=content.category,
            hard_negatives=ranking.hard_negatives,
        )

    @property
    def method(self) -> str:
        return f"{self.extractor}_{self.variant}"

    def own(self, query: int) -> list[tuple[int, float, int]]:
        """(rank, score, row of exemplar_path) of the query's exemplars, best first."""
        rows = slice(int(self.offsets[query]), int(self.offsets[query + 1]))
        return [
            (int(rank), float(score), int(row))
            for rank, score, row in zip(self.ranks[rows], self.scores[rows], self.exemplar[rows], strict=True)
        ]

    def average_precision(self, query: int) -> float:
        """AP of the query: the mean of i / rank of its i-th exemplar."""
        ranks = [rank for rank, _, _ in self.own(query)]
        return float(np.mean([(i + 1) / rank for i, rank in enumerate(ranks)])) if ranks else float("nan")


def contact_sheet(
    retrieval: Retrieval, root: Path | str, n_queries: int = 8, n_neighbours: int = 8, n_exemplars: int = 4
) -> tuple[Figure, pd.DataFrame]:
    """One method: a row a query with its `n_neighbours` best-ranked images and up to `n_exemplars` of its exemplars.

    Of more exemplars, some from the best to the worst ranked are shown. Returns the figure, to be saved with
    `plots.save_figure`, and a row an image shown: `panel` is `nearest` (there `position` equals `rank`) or `exemplars`
    (`position` counts from the left). Images are read below `root`; one that cannot be is a labelled grey square.
    """
    rows, shown = [], []
    for query in choose_queries([retrieval], n_queries):
        own = retrieval.own(query)
        picked = [own[i] for i in _spread(len(own), n_exemplars)]
        row, images = _row(retrieval, query, n_neighbours, [item[2] for item in picked])
        rows.append(SheetRow(*row, heading=_heading(retrieval, query), query=_query_cell(retrieval, query, 14)))
        shown += images
    title = f"{retrieval.split}, {retrieval.method}: nearest images"
    return draw_sheet(title, _explain(retrieval), rows, root, _SHEET_SIZE), pd.DataFrame(shown, columns=_COLUMNS)


def comparison_sheet(
    retrievals: Sequence[Retrieval], root: Path | str, n_queries: int = 3, n_neighbours: int = 8, n_exemplars: int = 4
) -> tuple[Figure, pd.DataFrame]:
    """All methods on the same queries: a block a query, in it a row a method; else as `contact_sheet`.

    The exemplars at the right are the same in all rows of a block, so that their ranks can be compared. Raises
    ValueError without a method, or when the methods' queries differ.
    """
    if not retrievals:
        raise ValueError("a comparison needs at least one method")
    first = retrievals[0]
    for other in retrievals[1:]:
        if other.split != first.split or not np.array_equal(other.query_path, first.query_path):
            raise ValueError(f"{first.method} and {other.method} have different queries")
    rows, shown = [], []
    for query in choose_queries(retrievals, n_queries):
        own = sorted(row for _, _, row in first.own(query))
        picked = [own[i] for i in _spread(len(own), n_exemplars)]
        for retrieval in retrievals:
            row, images = _row(retrieval, query, n_neighbours, picked, name=retrieval.method)
            lead = retrieval is first
            rows.append(
                SheetRow(
                    *row,
                    heading=_heading(first, query) if lead else "",
                    query=_query_cell(first, query, 11) if lead else None,
                )
            )
            shown += images
    title = f"{first.split}: nearest images by method"
    return draw_sheet(title, _explain(first), rows, root, _COMPARISON_SIZE), pd.DataFrame(shown, columns=_COLUMNS)


def choose_queries(retrievals: Sequence[Retrieval], n: int) -> list[int]:
    """Up to `n` queries that are valid for all methods, spread over entries and prompt types.

    Entries are taken at even steps through the split; from each the prompt type used least so far. The choice does not
    depend on ranks. Sorted by prompt type, then in split order.
    """
    first = retrievals[0]
    valid = np.all([np.asarray(retrieval.query_valid, dtype=bool) for retrieval in retrievals], axis=0)
    waiting: dict[int, list[int]] = {}
    for query in np.flatnonzero(valid):
        waiting.setdefault(int(first.query_entry[query]), []).append(int(query))
    entries, chosen, used, used_pairs = list(waiting), [], Counter(), Counter()
    steps = [entries[i] for i in _spread(len(entries), n)]
    while steps and len(chosen) < n:
        for entry in steps[: n - len(chosen)]:
            if not waiting[entry]:
                continue

            def key(query: int, entry: int = entry):
                prompt = str(first.query_prompt_type[query])
                return (used_pairs[entry, prompt], used[prompt], query)

            query = min(waiting[entry], key=key)
            waiting[entry].remove(query)
            prompt = str(first.query_prompt_type[query])
            used[prompt] += 1
            used_pairs[entry, prompt] += 1
            chosen.append(query)
        steps = [entry for entry in steps if waiting[entry]]
    prompts = {str(name): i for i, name in reversed(list(enumerate(first.query_prompt_type)))}
    return sorted(chosen, key=lambda query: (prompts[str(first.query_prompt_type[query])], query))


def ranking(retrieval: Retrieval, query: int, n: int) -> list[tuple[int, str, bool, float]]:
    """The first `n` places of a query's ranking that are known: (rank, path, whether an exemplar, score).

    Exemplars stand at their exact ranks and the database's neighbours fill the others in order. A place is unknown when
    more are asked for than neighbours were kept.
    """
    own = {rank: (str(retrieval.exemplar_path[row]), score) for rank, score, row in retrieval.own(query)}
    database = iter(zip(retrieval.neighbour_path[query], retrieval.neighbour_score[query], strict=True))
    places = []
    for rank in range(1, n + 1):
        if rank in own:
            places.append((rank, own[rank][0], True, own[rank][1]))
            continue
        path, score = next(database, ("", float("nan")))
        if path:
            places.append((rank, str(path), False, float(score)))
    return places


def _row(retrieval: Retrieval, query: int, n_neighbours: int, picked: list[int], name: str = "") -> tuple[tuple, list]:
    """The arguments of a SheetRow (neighbours, exemplars, caption, note), and the rows of data that it shows.

    picked: rows of exemplar_path to show at the right.
    """
    own = {row: (rank, score) for rank, score, row in retrieval.own(query)}
    precision = retrieval.average_precision(query)
    common = [
        retrieval.split, retrieval.extractor, retrieval.variant, str(retrieval.query_path[query]),
        str(retrieval.query_prompt_type[query]), int(retrieval.query_entry[query]), precision,
    ]  # fmt: skip
    cells: list[Cell | None] = [None] * n_neighbours
    data = []
    for rank, path, is_exemplar, score in ranking(retrieval, query, n_neighbours):
        cells[rank - 1] = Cell(path, f"#{rank:,}", is_exemplar)
        data.append([*common, "nearest", rank, rank, path, is_exemplar, score])
    exemplars = []
    for position, row in enumerate(picked, start=1):
        path = str(retrieval.exemplar_path[row])
        if row in own:
            rank, score = own[row]
            data.append([*common, "exemplars", position, rank, path, True, score])
        exemplars.append(Cell(path, f"#{own[row][0]:,}" if row in own else "no rank", True))
    best = min((rank for rank, _ in own.values()), default=None)
    caption = [name] if name else []
    caption += [f"AP {precision:.3f}"] + ([f"best exemplar at #{best:,}"] if best else [])
    noun = "exemplar" if len(own) == 1 else "exemplars"
    note = f"{len(own)} {noun}" if len(picked) == len(own) else f"{len(picked)} of {len(own)} {noun}"
    return (cells, exemplars, "  ·  ".join(caption), note), data


def _heading(retrieval: Retrieval, query: int) -> str:
    entry = int(retrieval.query_entry[query])
    parts = [str(retrieval.query_prompt_type[query]), f"entry {entry}"]
    if retrieval.entry_category is not None and str(retrieval.entry_category[entry]):
        parts.append(shorten(str(retrieval.entry_category[entry]), 60))
    return "  ·  ".join(parts)


def _query_cell(retrieval: Retrieval, query: int, letters: int) -> Cell:
    path = str(retrieval.query_path[query])
    return Cell(path, shorten(PurePosixPath(path).stem, letters, end=True))


def _explain(retrieval: Retrieval) -> str:
    exemplars = "all exemplars" if retrieval.hard_negatives else "the entry's exemplars"
    return (
        "left: the query  ·  green frame: an exemplar of its entry  ·  "
        f"#: rank among {retrieval.n_database:,} database images and {exemplars}"
    )


def _spread(n: int, wanted: int) -> list[int]:
    """`wanted` of the numbers below `n` at even steps, the first and the last among them; all when there are fewer."""
    if n <= wanted:
        return list(range(n))
    return sorted({round(i * (n - 1) / max(1, wanted - 1)) for i in range(wanted)})
