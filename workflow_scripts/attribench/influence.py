"""Influence: what share each image of the database and each own exemplar has in a query, from scores and a calibrator.

With scores s_i of all candidates i of a query, t_i = max(0, exp(inv_tau s_i - max_j inv_tau s_j) + 0.001 bias), and the
influence of i is t_i over the sum of all t (Wang et al. 2023, section 4; 0.001 is `formats.calibrator.BIAS_GAIN`). The
exemplars' scores are exact, those of the database come as the points of a `ScoreHistogram`.

What is measured takes influence as a probability: that an image is the one which was drawn from the query's exemplars.
With m exemplars, each should have 1 / m.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from attribench.formats.calibrator import BIAS_GAIN, Calibrator
from attribench.formats.histogram import ScoreHistogram
from attribench.formats.influence import LEVELS, N_BINS, RELIABILITY_EDGES, Influence, shapes
from attribench.formats.ranking import Ranking

_UNCALIBRATED = Calibrator(1.0, 0.0)  # the softmax of the scores
_QUERIES = 1024  # at a time


@dataclass(frozen=True, eq=False)
class Candidates:
    """Hold the candidates of q queries: the database as points, and each query's own exemplars.

    scores, weights: float64 [q, p], points of the database by falling score, and how many images each stands for. exemplars:
    float64 [q, m], the scores of the exemplars, falling; NaN pads. best: float64 [q], the highest score of all candidates.
    """

    scores: np.ndarray
    weights: np.ndarray
    exemplars: np.ndarray
    best: np.ndarray


def influence_of(ranking: Ranking, histogram: ScoreHistogram, calibrator: Calibrator) -> Influence:
    """Return the influence of the candidates of each query of `ranking`, whose score histograms are `histogram`."""
    out = {name: np.full(shape, np.nan) for name, shape in shapes(ranking).items()}
    pair, neighbour = ranking.first_positions(ranking.neighbour_index.shape[1])
    for queries, pairs, candidates in in_blocks(ranking, histogram):
        scores = _scores_at(ranking, pair[queries], neighbour[queries], queries)
        top = terms(calibrator, scores, candidates.best[:, None])
        # Where the first ones have nearly all, their exact scores tell more of the sum than the points do.
        total = np.maximum(_total(candidates, calibrator), np.nansum(top, axis=1))
        of_exemplars = terms(calibrator, candidates.exemplars, candidates.best[:, None]) / total[:, None]
        of_points = terms(calibrator, candidates.scores, candidates.best[:, None]) / total[:, None]
        known = ~np.isnan(candidates.exemplars)
        out["exemplar"][pairs] = of_exemplars[known]
        out["above"][pairs] = _above(ranking, queries, candidates, of_points, of_exemplars)[known]
        out["effective_number"][queries] = np.exp(_entropy(candidates.weights, of_points, of_exemplars))
        out["set_size"][queries] = _set_sizes(candidates, of_points, of_exemplars)
        for name, values in _by_bins(candidates.weights, of_points, of_exemplars).items():
            out[name][queries] = values
        out["log_likelihood"][queries] = log_likelihood(candidates, calibrator, total)
        out["log_likelihood_uncalibrated"][queries] = log_likelihood(candidates, _UNCALIBRATED)
        out["log_likelihood_uniform"][queries] = -np.log(ranking.n_candidates[queries])
        top /= total[:, None]
        out["top"][queries], out["remaining"][queries] = top, np.maximum(0, 1 - np.nansum(top, axis=1))
    return Influence(**out)


def in_blocks(ranking: Ranking, histogram: ScoreHistogram) -> Iterator[tuple[np.ndarray, np.ndarray, Candidates]]:
    """Yield the candidates of some valid queries at a time: the numbers of the queries, of their pairs, the candidates."""
    valid = np.flatnonzero(ranking.query_valid)
    for start in range(0, len(valid), _QUERIES):
        queries = valid[start : start + _QUERIES]
        lengths = np.diff(ranking.offsets)[queries]
        column = np.arange(lengths.max())
        known = column < lengths[:, None]
        pairs = (ranking.offsets[queries][:, None] + column)[known]
        exemplars = np.full(known.shape, np.nan)
        exemplars[known] = ranking.scores[pairs]
        best = np.fmax(exemplars[:, 0], ranking.neighbour_score[queries, 0])
        yield queries, pairs, Candidates(*histogram.points(queries), exemplars, best)


def terms(calibrator: Calibrator, scores: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Return t of the formula above for `scores`, with the highest score of all candidates, `best`; NaN stays."""
    return np.maximum(0, np.exp(_exponent(calibrator, scores, best)) + calibrator.bias * BIAS_GAIN)


def log_terms(calibrator: Calibrator, scores: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Return the logarithm of `terms`; -inf where t is 0."""
    if not calibrator.bias:  # the exponential may be too small for a float64
        return _exponent(calibrator, scores, best)
    with np.errstate(divide="ignore"):
        return np.log(terms(calibrator, scores, best))


def _exponent(calibrator: Calibrator, scores: np.ndarray, best: np.ndarray) -> np.ndarray:
    # A point can be a little above the best score; and far above, without weight, where other queries have such scores.
    return np.minimum(calibrator.inv_tau * (scores - best), 1)


def log_likelihood(candidates: Candidates, calibrator: Calibrator, total: np.ndarray | None = None) -> np.ndarray:
    """Return the mean over each query's exemplars of the logarithm of their influence, float64 [q]; -inf where one has 0.

    total: the sum of t over all candidates, float64 [q]; None: that of the points.
    """
    total = _total(candidates, calibrator) if total is None else total
    logs = log_terms(calibrator, candidates.exemplars, candidates.best[:, None])
    return np.nanmean(logs, axis=1) - np.log(total)


def _total(candidates: Candidates, calibrator: Calibrator) -> np.ndarray:
    """Return the sum of t over all candidates, float64 [q]."""
    best = candidates.best[:, None]
    of_database = (candidates.weights * terms(calibrator, candidates.scores, best)).sum(axis=1)
    return of_database + np.nansum(terms(calibrator, candidates.exemplars, best), axis=1)


def _above(ranking: Ranking, queries, candidates: Candidates, of_points, of_exemplars) -> np.ndarray:
    """Return the influence of what ranks above each exemplar, float64 [q, m]: database images, by their exact number."""
    known = ~np.isnan(candidates.exemplars)
    before = np.cumsum(np.nan_to_num(of_exemplars), axis=1) - np.nan_to_num(of_exemplars)
    counts = np.full(known.shape, np.nan)
    for row, query in enumerate(queries):
        ranks = ranking.ranks[ranking.pairs(query)]
        counts[row, : len(ranks)] = ranks - 1 - np.arange(len(ranks))
    n, mass = _sums_before(candidates.weights), _sums_before(candidates.weights * of_points)
    return before + np.stack([np.interp(counts[row], n[row], mass[row]) for row in range(len(queries))])


def _sums_before(values: np.ndarray) -> np.ndarray:
    """Return the sums of the first 0 to n of each row's `values` [q, n]: float64 [q, n + 1]."""
    return np.pad(np.cumsum(values, axis=1), ((0, 0), (1, 0)))


def _entropy(weights: np.ndarray, of_points: np.ndarray, of_exemplars: np.ndarray) -> np.ndarray:
    """Return the entropy of each query's influence, float64 [q], in nats."""

    def parts(p: np.ndarray) -> np.ndarray:
        return -p * np.log(np.where(p > 0, p, 1))

    return (weights * parts(of_points)).sum(axis=1) + np.nansum(parts(of_exemplars), axis=1)


def _set_sizes(candidates: Candidates, of_points: np.ndarray, of_exemplars: np.ndarray) -> np.ndarray:
    """Return how many of the highest candidates hold each of LEVELS of the influence, float64 [q, L]; the last in part."""
    p = np.concatenate([of_points, np.nan_to_num(of_exemplars)], axis=1)
    weights = np.concatenate([candidates.weights, ~np.isnan(of_exemplars)], axis=1)
    order = np.argsort(-p, axis=1, kind="stable")
    p, weights = (np.take_along_axis(values, order, axis=1) for values in (p, weights))
    n, mass = _sums_before(weights), _sums_before(weights * p)
    return np.array([np.interp(LEVELS, row_mass, row_n) for row_mass, row_n in zip(mass, n, strict=True)])


def _by_bins(weights: np.ndarray, of_points: np.ndarray, of_exemplars: np.ndarray) -> dict[str, np.ndarray]:
    """Return `in_bin`, `predicted` and `observed` of `Influence`."""
    known, mass = ~np.isnan(of_exemplars), np.nan_to_num(of_exemplars)
    return {
        "in_bin": _binned(of_points, weights) + _binned(mass, known),
        "predicted": _binned(of_points, weights * of_points) + _binned(mass, mass),
        "observed": _binned(mass, known / known.sum(axis=1, keepdims=True)),
    }


def _binned(p: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the sums of each row's `values` by the bins of `p`, both [q, n]: float64 [q, B]."""
    number = np.searchsorted(RELIABILITY_EDGES[1:-1], p, side="right")
    flat = number + np.arange(len(p))[:, None] * N_BINS
    return np.bincount(flat.ravel(), values.ravel(), len(p) * N_BINS).reshape(len(p), N_BINS)


def _scores_at(ranking: Ranking, pair: np.ndarray, neighbour: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return the scores of the candidates at the first positions, float64 [q, k]; NaN where nothing stands."""
    of_neighbours = np.take_along_axis(ranking.neighbour_score[queries], np.maximum(neighbour, 0), axis=1)
    return np.where(pair >= 0, ranking.scores[pair], np.where(neighbour >= 0, of_neighbours, np.nan))
