"""Contact sheets: queries beside the images that a method ranks nearest, and where it ranks their exemplars."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from attribench.common.errors import nearest
from attribench.decode.reading import AS_PUBLISHED, Reading
from attribench.formats.ranking import Method, Ranking
from attribench.plots.captions import caption, count, protocol
from attribench.plots.chosen import SPREAD, choose_queries, how_chosen, spread, valid_queries
from attribench.plots.figure_settings import SHIPPED, FigureSettings
from attribench.plots.plot import Plot
from attribench.plots.sheet import (
    MIN_WIDTH,
    Block,
    MethodRow,
    QueryRow,
    Shown,
    any_there,
    blocks_on_a_page,
    draw_blocks,
    draw_rows,
    nearest_in_blocks,
    note_figure,
)
from attribench.plots.style import NOTHING, plot_style, short_count

N_EXEMPLARS = 4  # that are shown of each query, at most
_COMPARED = 3  # queries in a comparison
NO_PROMPTS: Mapping[str, str] = {}
_COLUMNS = [
    "split", "extractor", "variant", "query", "prompt_type", "entry", "AP",
    "panel", "position", "rank", "path", "is_exemplar", "score",
]  # fmt: skip


def contact_sheet(
    ranking: Ranking,
    root: Path | str,
    n_queries: int = 8,
    n_neighbours: int = 8,
    choose: str | Sequence[str] = SPREAD,
    reading: Reading = AS_PUBLISHED,
    settings: FigureSettings = SHIPPED,
    prompts: Mapping[str, str] = NO_PROMPTS,
) -> Plot:
    """Draw one method: a row per query with its `n_neighbours` best-ranked images and up to 4 of its exemplars.

    choose: as for `choose_queries`. Of more exemplars, some from the best to the worst ranked are shown. The data have a row
    an image shown: `panel` is `nearest` (there `position` equals `rank`) or `exemplars` (`position` counts from the left).
    Images are read below `root` as `reading` says; one that cannot be is a grey square. Where none is there, a line says so.
    prompts: those that are known, by the query's path; they stand above its images.
    """
    with plot_style():
        width = max(settings.width, MIN_WIDTH)
        label = settings.styles([ranking.method])[ranking.method].label
        queries = choose_queries([ranking], n_queries, choose)
        shown = {q: _picked_by_rank(ranking, q) for q in queries}
        data = pd.DataFrame(
            [row for q, picked in shown.items() for row in _data(ranking, q, n_neighbours, picked)], columns=_COLUMNS
        )
        if note := _why_nothing([ranking], root, queries, choose, data):
            return Plot(note_figure(note, width), data, note)
        title = f"{ranking.split}, {label}: nearest images" if settings.has_title else ""
        rows = [_query_row(ranking, q, n_neighbours, picked, prompts) for q, picked in shown.items()]
        figure = draw_rows(width, title, _legend(ranking), rows, root, reading)
        text = caption(
            f"{_shown_of(queries, [ranking])} (left), the {n_neighbours} images that {label} ranks nearest, and up to "
            f"{N_EXEMPLARS} of the query's exemplars with their ranks, from the best to the worst.",
            how_chosen(choose, label),
            "The config's contact_sheet.method says whose ranking it is.",
            f"A frame with a check mark: an exemplar of the query's entry. {protocol([ranking])}",
        )
        return Plot(figure, data, text)


def comparison_sheet(
    rankings: Sequence[Ranking],
    root: Path | str,
    n_neighbours: int = 8,
    choose: str | Sequence[str] = SPREAD,
    reading: Reading = AS_PUBLISHED,
    settings: FigureSettings = SHIPPED,
    prompts: Mapping[str, str] = NO_PROMPTS,
) -> Plot:
    """Draw some queries by all methods: a block per query, in it a row per method; else as `contact_sheet`.

    There are as many queries as a page holds, 3 at most (those that `choose` lists are all there), and as many neighbours as
    a row holds. Exemplars stand above, and each row has their ranks. Raises ValueError without a method, or when the
    methods' queries differ.
    """
    if not rankings:
        raise ValueError("a comparison needs at least one method")
    first = rankings[0]
    for other in rankings[1:]:
        if other.split != first.split or not np.array_equal(other.query_path, first.query_path):
            raise ValueError(f"{first.method.name} and {other.method.name} have different queries")
    with plot_style():
        width = max(settings.width, MIN_WIDTH)
        by_method = {ranking.method: ranking for ranking in rankings}
        labels = {method: style.label for method, style in settings.styles(by_method).items()}
        n_neighbours = min(n_neighbours, nearest_in_blocks(width))
        fitting = blocks_on_a_page(width, n_neighbours, list(labels.values()), bool(prompts))
        queries = choose_queries(rankings, min(_COMPARED, fitting), choose)
        shown = {q: _picked_in_order(first, q) for q in queries}
        rows = [row for q in queries for m in labels for row in _data(by_method[m], q, n_neighbours, shown[q])]
        data = pd.DataFrame(rows, columns=_COLUMNS)
        if note := _why_nothing(rankings, root, queries, choose, data):
            return Plot(note_figure(note, width), data, note)
        title = f"{first.split}: nearest images by method" if settings.has_title else ""
        blocks = [_block(by_method, labels, q, n_neighbours, picked, prompts) for q, picked in shown.items()]
        figure = draw_blocks(width, title, _legend(first), blocks, root, reading)
        text = caption(
            f"{_shown_of(queries, rankings)} by all methods: a row a method, with the query's average precision (AP), "
            f"the {n_neighbours} images that it ranks nearest, and the ranks that it gives to up to {N_EXEMPLARS} of the "
            "query's exemplars. These stand above in the order of the split file, since each method ranks them "
            f"differently; of more than {N_EXEMPLARS}, some at even steps are shown.",
            how_chosen(choose, "all methods"),
            f"A frame with a check mark: an exemplar of the query's entry. {protocol(rankings)}",
        )
        return Plot(figure, data, text)


def _shown_of(queries: list[int], rankings: Sequence[Ranking]) -> str:
    """Return `3 of the 240 queries of SPLIT`: how many are shown of those that are valid for all methods."""
    n_valid = int(valid_queries(rankings).sum())
    return f"{len(queries):,} of the {count(n_valid, 'query', 'queries')} of {rankings[0].split}"


def _why_nothing(
    rankings: Sequence[Ranking], root: Path | str, queries: list[int], choose: str | Sequence[str], data: pd.DataFrame
) -> str:
    """Return why there is nothing to draw; nothing where there is."""
    first = rankings[0]
    if not queries and not isinstance(choose, str) and valid_queries(rankings).any():
        hint = nearest(choose[0], first.query_path.tolist()) if choose else ""
        return f"No contact sheet: no query that contact_sheet.choose lists is a valid query of {first.split}{hint}"
    if not queries:
        return f"No contact sheet: {first.split} has no valid queries."
    paths = list(dict.fromkeys([*data["query"], *data["path"]]))
    if not any_there(root, paths):
        return (
            f"No contact sheet: of the {len(paths):,} images that it would show, such as {paths[0]}, none is below the "
            "benchmark's root. Features stand for them; the CSV file beside this has the paths and ranks."
        )
    return ""


# --- what is shown ----------------------------------------------------------------------------------------------------


def _picked_by_rank(ranking: Ranking, query: int) -> list[int]:
    """Return the exemplars of a query that are shown, from the best to the worst ranked."""
    own = ranking.exemplar[ranking.pairs(query)]
    return own[spread(len(own), N_EXEMPLARS)].tolist()


def _picked_in_order(ranking: Ranking, query: int) -> list[int]:
    """Return the exemplars of a query that are shown where methods rank them differently: in the order of the split file."""
    own = np.sort(ranking.exemplar[ranking.pairs(query)])
    return own[spread(len(own), N_EXEMPLARS)].tolist()


def _data(ranking: Ranking, query: int, n_neighbours: int, picked: list[int]) -> list[list]:
    """Return the rows of data on a query: its nearest images, and the exemplars `picked`."""
    pairs = ranking.pairs(query)
    common = [
        ranking.split, ranking.extractor, ranking.variant, ranking.query_path[query],
        ranking.query_prompt_type[query], int(ranking.query_entry[query]), _precision(ranking, query),
    ]  # fmt: skip
    rows = [
        [*common, "nearest", rank, rank, path, is_exemplar, score]
        for rank, path, is_exemplar, score in ranking.nearest_images(query, n_neighbours)
    ]
    pair_of = dict(zip(ranking.exemplar[pairs].tolist(), range(pairs.start, pairs.stop), strict=True))
    for position, exemplar in enumerate(picked, start=1):
        if exemplar in pair_of:
            rank, score = int(ranking.ranks[pair_of[exemplar]]), float(ranking.scores[pair_of[exemplar]])
            path = ranking.exemplar_path[exemplar]
            rows.append([*common, "exemplars", position, rank, path, True, score])
    return rows


def _precision(ranking: Ranking, query: int) -> float:
    # Not `metrics.average_precision`, whose last bit may differ: the sheets' data stay as they were.
    ranks = ranking.ranks[ranking.pairs(query)].tolist()
    return float(np.mean([i / rank for i, rank in enumerate(ranks, start=1)]))


# --- how it is said ---------------------------------------------------------------------------------------------------


def _legend(ranking: Ranking) -> str:
    exemplars = "all exemplars of the split" if ranking.hard_negatives else "its own exemplars"
    return f"an exemplar of the query's entry   #: rank among {count(ranking.n_database, 'database image')} and {exemplars}"


def _query_row(
    ranking: Ranking, query: int, n_neighbours: int, picked: list[int], prompts: Mapping[str, str]
) -> QueryRow:
    ranks = ranking.ranks[ranking.pairs(query)]
    rank_of = _ranks(ranking, query)
    return QueryRow(
        heading=_heading(ranking, query),
        name=_query_name(ranking.query_path[query]),
        prompt=prompts.get(ranking.query_path[query], ""),
        caption=f"AP {_precision(ranking, query):.3f}  ·  best exemplar at {_rank(ranks[0])}",
        note=_note(len(ranks), len(picked)),
        query=ranking.query_path[query],
        nearest=_nearest(ranking, query, n_neighbours),
        exemplars=[
            Shown(ranking.exemplar_path[exemplar], _rank(rank_of[exemplar]), True, place)
            for exemplar, place in zip(picked, _places(len(ranks)), strict=True)
        ],
    )


def _block(
    by_method: dict[Method, Ranking],
    labels: dict[Method, str],
    query: int,
    n_neighbours: int,
    picked: list[int],
    prompts: Mapping[str, str],
) -> Block:
    first = next(iter(by_method.values()))
    rows = []
    for method, label in labels.items():
        ranking = by_method[method]
        rank_of = _ranks(ranking, query)
        ranks = [_rank(rank_of[exemplar]) if exemplar in rank_of else NOTHING for exemplar in picked]
        rows.append(
            MethodRow(label, f"{_precision(ranking, query):.3f}", _nearest(ranking, query, n_neighbours), ranks)
        )
    return Block(
        heading=_heading(first, query),
        name=_query_name(first.query_path[query]),
        prompt=prompts.get(first.query_path[query], ""),
        note=_note(len(first.ranks[first.pairs(query)]), len(picked)),
        query=first.query_path[query],
        exemplars=[first.exemplar_path[exemplar] for exemplar in picked],
        rows=rows,
    )


def _nearest(ranking: Ranking, query: int, n: int) -> list[Shown | None]:
    """Return what stands at the first `n` positions; None where that is unknown."""
    places: list[Shown | None] = [None] * n
    for rank, path, is_exemplar, _ in ranking.nearest_images(query, n):
        places[rank - 1] = Shown(path, _rank(rank), is_exemplar)
    return places


def _ranks(ranking: Ranking, query: int) -> dict[int, int]:
    """Return the rank of each exemplar of a query, by its row."""
    pairs = ranking.pairs(query)
    return dict(zip(ranking.exemplar[pairs].tolist(), ranking.ranks[pairs].tolist(), strict=True))


def _rank(rank: int) -> str:
    """Return a rank as a narrow label: #7, #1,234, #12.3k, #1.23M; the data have it in full."""
    return f"#{rank:,}" if rank < 10_000 else f"#{short_count(float(f'{rank:.3g}'))}"


def _note(n: int, n_shown: int) -> str:
    """Return how many of a query's exemplars are shown."""
    return count(n, "exemplar") if n == n_shown else f"{n_shown} of {n} exemplars"


def _heading(ranking: Ranking, query: int) -> str:
    """Return what is known of a query: prompt type, entry, and the entry's class_id and category."""
    entry = int(ranking.query_entry[query])
    of_entry = dict.fromkeys(filter(None, [ranking.class_id[entry], ranking.category[entry]]))
    return "  ·  ".join([*filter(None, [ranking.query_prompt_type[query]]), f"entry {entry}", *of_entry])


def _query_name(path: str) -> str:
    """Return the last parts of a query's path, which tell it from others: a name alone is often but a number."""
    return "/".join(path.split("/")[-3:])


def _places(n: int) -> list[str]:
    """Return what the exemplars shown of `n` are called, from the best to the worst ranked; nothing of an only one."""
    endings = {1: "st", 2: "nd", 3: "rd"}
    numbers = [i + 1 for i in spread(n, N_EXEMPLARS)]
    names = [f"{i}{'th' if i % 100 in (11, 12, 13) else endings.get(i % 10, 'th')}" for i in numbers]
    return ["best", *names[1:-1], "worst"] if n > 1 else [""]
