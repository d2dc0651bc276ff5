"""Choose the queries that contact sheets show: spread over a split, the best, the worst, or those that are listed."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from attribench.formats.ranking import Ranking
from attribench.metrics import average_precision

SPREAD, BEST = "spread", "best"


def choose_queries(rankings: Sequence[Ranking], n: int, choose: str | Sequence[str] = SPREAD) -> list[int]:
    """Return up to `n` queries that are valid for all methods.

    choose: `spread`: over entries (at even steps through the split) and prompt types, whatever the ranks are, sorted by
    prompt type, then in split order; `best` and `worst`: by average precision, the mean over the methods, the best or the
    worst first, each of another entry while there are enough; or a list of paths: all of these, in its order, that are
    queries.
    """
    if not isinstance(choose, str):
        number = {path: i for i, path in enumerate(rankings[0].query_path.tolist())}
        valid = valid_queries(rankings)
        return [number[path] for path in dict.fromkeys(choose) if path in number and valid[number[path]]]
    if choose != SPREAD:
        return _best_or_worst(rankings, n, choose)
    order, prompt_type = rankings[0].prompt_types, rankings[0].query_prompt_type
    return sorted(_spread_queries(rankings, n), key=lambda query: (order.index(prompt_type[query]), query))


def valid_queries(rankings: Sequence[Ranking]) -> np.ndarray:
    """Return which queries are valid for all methods, bool [Q]."""
    return np.all([ranking.query_valid for ranking in rankings], axis=0)


def _best_or_worst(rankings: Sequence[Ranking], n: int, choose: str) -> list[int]:
    values = np.mean([average_precision(r.offsets, r.ranks) for r in rankings], axis=0)
    values = np.where(valid_queries(rankings), values, np.nan)
    return extreme_queries(values, rankings[0].query_entry, n, choose == BEST)


def extreme_queries(values: np.ndarray, entry: np.ndarray, n: int, is_best: bool) -> list[int]:
    """Return up to `n` queries with the highest or lowest of `values` [Q], of equal ones the first; NaN is left out.

    A second query of an entry [Q] comes after the first of each.
    """
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(-values[known] if is_best else values[known], kind="stable")].tolist()
    times, turns = Counter(), []
    for query in order:
        turns.append(times[entry[query]])
        times[entry[query]] += 1
    by_turn = sorted(zip(turns, range(len(order)), order, strict=True))
    return [query for _, _, query in sorted(by_turn[:n], key=lambda turn: turn[1])]


def _spread_queries(rankings: Sequence[Ranking], n: int) -> list[int]:
    """Return `n` valid queries of entries at even steps; from each entry the prompt type that was used least so far."""
    first = rankings[0]
    prompt_type = first.query_prompt_type.tolist()
    waiting: dict[int, list[int]] = {}
    for query in np.flatnonzero(valid_queries(rankings)).tolist():
        waiting.setdefault(int(first.query_entry[query]), []).append(query)
    entries = [list(waiting)[i] for i in spread(len(waiting), n)]
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
    return chosen


def how_chosen(choose: str | Sequence[str], of: str) -> str:
    """Return a caption's sentence on how its queries were chosen, by the average precision `of` which methods."""
    if not isinstance(choose, str):
        return "Chosen: those that the config lists."
    if choose == SPREAD:
        return "Chosen: spread over entries and prompt types, whatever their ranks."
    extreme = "highest" if choose == BEST else "lowest"
    return f"Chosen: those with the {extreme} average precision by {of}, of different entries; the {extreme} first."


def spread(n: int, wanted: int) -> list[int]:
    """Return `wanted` of the numbers below `n` at even steps, the first and the last among them; all of fewer."""
    if n <= wanted:
        return list(range(n))
    return sorted({round(i * (n - 1) / max(1, wanted - 1)) for i in range(wanted)})
