"""Scores, influence and ranks of all candidates of one image.

All sums run over all candidates. What is shown, and what could change an order, has its canonical score (`rank.score`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attribench.decode.eight_bits import UnreadableImage
from attribench.demo.candidates import QueryImage
from attribench.demo.method import ReadyMethod, comparable, exact_scores
from attribench.formats.calibrator import Calibrator
from attribench.influence import terms
from attribench.rank.score import row_norms
from attribench.rank.ties import TOLERANCE, thresholds


@dataclass(frozen=True)
class Candidate:
    """Hold one image of the ranking; `influence` is None where there is no calibrator, `entry` that of an exemplar."""

    rank: int
    path: str
    is_exemplar: bool
    entry: int | None
    score: float
    influence: float | None


@dataclass(frozen=True, eq=False)
class Attribution:
    """Hold the answer about one image.

    first: the first candidates. own: the exemplars that it was synthesized from, if these are known, best first.
    n_database, n_exemplars: how many of each are candidates. remaining: influence of all that are not in `first`.
    on_exemplars: influence of all exemplars together. effective_number: exponential of the influence's entropy.
    """

    first: list[Candidate]
    own: list[Candidate]
    n_database: int
    n_exemplars: int
    remaining: float | None
    on_exemplars: float | None
    effective_number: float | None

    @property
    def n_others(self) -> int:
        """Return how many candidates are not in `first`."""
        return self.n_database + self.n_exemplars - len(self.first)


def attribute(query: QueryImage, method: ReadyMethod, n_first: int) -> Attribution:
    """Return how `method` ranks the candidates of an image, with their influence; the first `n_first` are named.

    Raises UnreadableImage for a feature that cannot be compared.
    """
    unit, exemplars = _units(query, method)
    scores = method.rows.scores(unit)
    wanted = thresholds(exemplars) if query.are_own else np.empty(0)
    best, paths = _decide(scores, unit, method, wanted, n_first)
    ranks, order = _in_order(scores, exemplars, best, n_first, len(exemplars) if query.are_own else n_first)
    share, totals = _influence(scores[method.rows.valid], exemplars, method.calibrator)

    def candidate(rank: int, number: int, is_exemplar: bool) -> Candidate:
        score = float((exemplars if is_exemplar else scores)[number])
        row = query.exemplars[number] if is_exemplar else None
        path = row.path if row else paths[number]
        return Candidate(rank, path, is_exemplar, row.entry if row else None, score, share(score))

    first = [candidate(rank, number, is_own) for rank, (number, is_own) in enumerate(order, 1)]
    ranked = [candidate(rank, number, True) for number, rank in ranks.items()] if query.are_own else []
    remaining = None if totals is None else max(0.0, 1 - sum(one.influence for one in first))
    n_database = int(method.rows.valid.sum())
    on_exemplars, spread = totals or (None, None)
    return Attribution(first, ranked, n_database, len(exemplars), remaining, on_exemplars, spread)


def _units(query: QueryImage, method: ReadyMethod) -> tuple[np.ndarray, np.ndarray]:
    """Return the image's unit row float64 [d], and its canonical scores float64 [m] with the exemplars."""
    mapped = comparable(method.synth(query.feature[None]))
    norms, bad = row_norms(mapped)
    if bad >= 0:
        raise UnreadableImage("its feature holds NaN, Inf or huge values")
    unit = mapped / norms[:, None]
    return unit[0], exact_scores(unit, method.real(query.exemplar_features))


def _decide(
    scores: np.ndarray, unit: np.ndarray, method: ReadyMethod, wanted: np.ndarray, n_first: int
) -> tuple[np.ndarray, dict[int, str]]:
    """Write canonical scores into `scores` [N] where these could be first, or be on either side of one `wanted`.

    Returns the rows that may be among the first, and the paths of all that have one.
    """
    rows = method.rows
    best = _first(scores, n_first, 2 * rows.error)
    near = _near(scores, np.arange(len(scores)), wanted, rows.error)
    scores[near] = rows.float64_scores(unit, near)
    near = _near(scores[near], near, wanted, rows.float64_error)
    chosen = np.union1d(best, near)
    features, paths = rows.features(chosen)
    scores[chosen] = exact_scores(unit[None], method.real(features))
    return best, dict(zip(chosen.tolist(), paths, strict=True))


def _first(scores: np.ndarray, n: int, margin: float) -> np.ndarray:
    """Return the rows, rising, whose score is at least the `n`-th highest less `margin`."""
    known = np.where(np.isnan(scores), -np.inf, scores)
    n = min(n, len(known))
    lowest = np.partition(known, len(known) - n)[len(known) - n]
    return np.flatnonzero((known >= lowest - margin) & (known > -np.inf))


def _near(scores: np.ndarray, rows: np.ndarray, wanted: np.ndarray, margin: float) -> np.ndarray:
    """Return those of `rows` whose score is within `margin` of one of the scores `wanted`."""
    is_near = np.zeros(len(scores), bool)
    for score in wanted:
        is_near |= np.abs(scores - score) <= margin
    return rows[is_near]


def _in_order(
    scores: np.ndarray, exemplars: np.ndarray, best: np.ndarray, n_first: int, n_ranked: int
) -> tuple[dict[int, int], list[tuple[int, bool]]]:
    """Return the ranks of the best `n_ranked` exemplars by their number; and the first candidates: number, whether exemplar.

    best: rows of the database that may be among the first, of which all scores are canonical.

    A database image that ties with an exemplar ranks above it, as everywhere (`rank.ties`).
    """
    by_score = np.lexsort((np.arange(len(exemplars)), -exemplars))
    counts = {int(e): int(np.count_nonzero(scores >= exemplars[e] - TOLERANCE)) for e in by_score[:n_ranked]}
    ranks = {e: number + 1 + counts[e] for number, e in enumerate(counts)}
    images = best[np.lexsort((best, -scores[best]))].tolist()
    first: list[tuple[int, bool]] = []
    at = {rank: e for e, rank in ranks.items()}
    for rank in range(1, min(n_first, len(images) + len(exemplars)) + 1):
        first.append((at[rank], True) if rank in at else (images.pop(0), False))
    return ranks, first


def _influence(scores: np.ndarray, exemplars: Sequence[float], calibrator: Calibrator | None):
    """Return a function of a score that is its influence, and the influence on exemplars and the effective number.

    Without a calibrator, the function returns None, and there are no such numbers.
    """
    if calibrator is None:
        return (lambda score: None), None
    everything = np.concatenate([exemplars, scores])
    best = everything.max()
    t = terms(calibrator, everything, best)
    total = t.sum()
    share = t[t > 0] / total
    entropy = -(share * np.log(share)).sum()
    return (
        lambda score: float(terms(calibrator, np.float64(score), best) / total),
        (float(t[: len(exemplars)].sum() / total), float(np.exp(entropy))),
    )
