"""Contact sheets: queries beside the images that a method ranks nearest, and where it ranks their exemplars."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from attribench.decode.reading import AS_PUBLISHED, Reading
from attribench.formats.ranking import Method, Ranking, method_labels
from attribench.plots.captions import caption, protocol
from attribench.plots.plot import Plot
from attribench.plots.sheet import Cell, SheetRow, draw_sheet, shorten

_SHEET_SIZE, _COMPARISON_SIZE = 144, 112  # pixels, the side of a thumbnail
_COLUMNS = [
    "split", "extractor", "variant", "query", "prompt_type", "entry", "AP",
    "panel", "position", "rank", "path", "is_exemplar", "score",
]  # fmt: skip


def contact_sheet(
    ranking: Ranking,
    root: Path | str,
    n_queries: int = 8,
    n_neighbours: int = 8,
    n_exemplars: int = 4,
    reading: Reading = AS_PUBLISHED,
    labels: Mapping[Method, str] | None = None,
) -> Plot:
    """Draw one method: a row per query with its `n_neighbours` best-ranked images and up to `n_exemplars` of its exemplars.

    Of more exemplars, some from the best to the worst ranked are shown. Returns the figure, to be saved with
    `plots.save_figure`, and a row an image shown: `panel` is `nearest` (there `position` equals `rank`) or `exemplars`
    (`position` counts from the left). Images are read below `root` as `reading` says; one that cannot be is a grey
    square with its name. `labels` are what methods are called.
    """
    rows, shown = [], []
    for query in choose_queries([ranking], n_queries):
        own = ranking.exemplar[ranking.pairs(query)]
        picked = own[_spread(len(own), n_exemplars)].tolist()
        row, images = _sheet_row(ranking, query, n_neighbours, picked, lead=True, letters=14)
        rows.append(row)
        shown += images
    label = (labels or method_labels([ranking.method]))[ranking.method]
    title = f"{ranking.split}, {label}: nearest images"
    figure = draw_sheet(title, _subtitle(ranking), rows, root, _SHEET_SIZE, reading)
    text = caption(f"Queries of {ranking.split} beside the images nearest to them by {label}.", protocol([ranking]))
    return Plot(figure, pd.DataFrame(shown, columns=_COLUMNS), text)


def comparison_sheet(
    rankings: Sequence[Ranking],
    root: Path | str,
    n_queries: int = 3,
    n_neighbours: int = 8,
    n_exemplars: int = 4,
    reading: Reading = AS_PUBLISHED,
    labels: Mapping[Method, str] | None = None,
) -> Plot:
    """Draw all methods on the same queries: a block per query, in it a row per method; else as `contact_sheet`.

    The exemplars at the right are the same in all rows of a block, so that their ranks can be compared. Raises
    ValueError without a method, or when the methods' queries differ.
    """
    if not rankings:
        raise ValueError("a comparison needs at least one method")
    first = rankings[0]
    for other in rankings[1:]:
        if other.split != first.split or not np.array_equal(other.query_path, first.query_path):
            raise ValueError(f"{first.method.name} and {other.method.name} have different queries")
    labels = labels or method_labels(ranking.method for ranking in rankings)
    rows, shown = [], []
    for query in choose_queries(rankings, n_queries):
        own = np.sort(first.exemplar[first.pairs(query)])
        picked = own[_spread(len(own), n_exemplars)].tolist()
        for ranking in rankings:
            lead, name = ranking is first, labels[ranking.method]
            row, images = _sheet_row(ranking, query, n_neighbours, picked, lead=lead, letters=11, name=name)
            rows.append(row)
            shown += images
    title = f"{first.split}: nearest images by method"
    figure = draw_sheet(title, _subtitle(first), rows, root, _COMPARISON_SIZE, reading)
    text = caption(f"Queries of {first.split} beside the images nearest to them, a row a method.", protocol(rankings))
    return Plot(figure, pd.DataFrame(shown, columns=_COLUMNS), text)


def choose_queries(rankings: Sequence[Ranking], n: int) -> list[int]:
    """Return up to `n` queries that are valid for all methods, spread over entries and prompt types.

    Entries are taken at even steps through the split; from each the prompt type used least so far. The choice does not
    depend on ranks. Sorted by prompt type, then in split order.
    """
    first = rankings[0]
    prompt_type = first.query_prompt_type.tolist()
    valid = np.all([ranking.query_valid for ranking in rankings], axis=0)
    waiting: dict[int, list[int]] = {}
    for query in np.flatnonzero(valid).tolist():
        waiting.setdefault(int(first.query_entry[query]), []).append(query)
    entries = [list(waiting)[i] for i in _spread(len(waiting), n)]
    chosen: list[int] = []
    used, used_in_entry = Counter(), Counter()  # how often a prompt type was chosen
    while entries and len(chosen) < n:
        for entry in entries[: n - len(chosen)]:

            def how_used(query: int, entry: int = entry) -> tuple[int, int, int]:
                return used_in_entry[entry, prompt_type[query]], used[prompt_type[query]], query

            query = min(waiting[entry], key=how_used)
            waiting[entry].remove(query)
            used[prompt_type[query]] += 1
            used_in_entry[entry, prompt_type[query]] += 1
            chosen.append(query)
        entries = [entry for entry in entries if waiting[entry]]
    order = first.prompt_types
    return sorted(chosen, key=lambda query: (order.index(prompt_type[query]), query))


def nearest_images(ranking: Ranking, query: int, n: int) -> list[tuple[int, str, bool, float]]:
    """Return the known ones of the first `n` positions of a query's ranking: (rank, path, whether an exemplar, score).

    A position is unknown when it is beyond the neighbours that were kept.
    """
    pairs, neighbours = (positions[query].tolist() for positions in ranking.first_positions(n))
    images = []
    for rank, (pair, neighbour) in enumerate(zip(pairs, neighbours, strict=True), start=1):
        if pair >= 0:
            images.append((rank, ranking.exemplar_path[ranking.exemplar[pair]], True, float(ranking.scores[pair])))
        elif neighbour >= 0:
            score = float(ranking.neighbour_score[query, neighbour])
            images.append((rank, ranking.neighbour_path[query, neighbour], False, score))
    return images


def _sheet_row(
    ranking: Ranking, query: int, n_neighbours: int, picked: list[int], *, lead: bool, letters: int, name: str = ""
) -> tuple[SheetRow, list]:
    """Return a row of a sheet for a valid query, and the rows of data that it shows.

    picked: the exemplars at the right. A `lead` row has a heading, and the query with `letters` of its name. name: the
    method's, where there are several.
    """
    pairs = ranking.pairs(query)
    ranks = ranking.ranks[pairs]
    # Not `metrics.average_precision`, whose last bit may differ: the sheets' data stay as they were.
    precision = float(np.mean([i / rank for i, rank in enumerate(ranks.tolist(), start=1)]))
    common = [
        ranking.split, ranking.extractor, ranking.variant, ranking.query_path[query],
        ranking.query_prompt_type[query], int(ranking.query_entry[query]), precision,
    ]  # fmt: skip
    neighbours: list[Cell | None] = [None] * n_neighbours
    data = []
    for rank, path, is_exemplar, score in nearest_images(ranking, query, n_neighbours):
        neighbours[rank - 1] = Cell(path, f"#{rank:,}", is_exemplar)
        data.append([*common, "nearest", rank, rank, path, is_exemplar, score])
    pair_of = dict(zip(ranking.exemplar[pairs].tolist(), range(pairs.start, pairs.stop), strict=True))
    exemplars = []
    for position, exemplar in enumerate(picked, start=1):
        path, label = ranking.exemplar_path[exemplar], "no rank"
        if exemplar in pair_of:
            rank, score = int(ranking.ranks[pair_of[exemplar]]), float(ranking.scores[pair_of[exemplar]])
            data.append([*common, "exemplars", position, rank, path, True, score])
            label = f"#{rank:,}"
        exemplars.append(Cell(path, label, True))
    row = SheetRow(
        neighbours,
        exemplars,
        caption="  ·  ".join([*filter(None, [name]), f"AP {precision:.3f}", f"best exemplar at #{ranks[0]:,}"]),
        note=_note(len(ranks), len(picked)),
        heading=_heading(ranking, query) if lead else "",
        query=_query_cell(ranking, query, letters) if lead else None,
    )
    return row, data


def _note(n_exemplars: int, n_shown: int) -> str:
    noun = "exemplar" if n_exemplars == 1 else "exemplars"
    return f"{n_exemplars} {noun}" if n_shown == n_exemplars else f"{n_shown} of {n_exemplars} {noun}"


def _heading(ranking: Ranking, query: int) -> str:
    entry = int(ranking.query_entry[query])
    parts = [ranking.query_prompt_type[query], f"entry {entry}"]
    if ranking.category[entry]:
        parts.append(shorten(ranking.category[entry], 60))
    return "  ·  ".join(parts)


def _query_cell(ranking: Ranking, query: int, letters: int) -> Cell:
    path = ranking.query_path[query]
    return Cell(path, shorten(PurePosixPath(path).stem, letters, end=True))


def _subtitle(ranking: Ranking) -> str:
    exemplars = "all exemplars" if ranking.hard_negatives else "the entry's exemplars"
    return (
        "left: the query  ·  green frame: an exemplar of its entry  ·  "
        f"#: rank among {ranking.n_database:,} database images and {exemplars}"
    )


def _spread(n: int, wanted: int) -> list[int]:
    """Return `wanted` of the numbers below `n` at even steps, the first and the last among them; all of fewer."""
    if n <= wanted:
        return list(range(n))
    return sorted({round(i * (n - 1) / max(1, wanted - 1)) for i in range(wanted)})
