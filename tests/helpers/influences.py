"""Share what tests of influence need: rankings and histograms of scores that are all known, and influence by brute force."""

from collections.abc import Sequence

import numpy as np
from attribench.formats.calibrator import Calibrator
from attribench.formats.histogram import BINS, ScoreHistogram
from attribench.formats.influence import LEVELS, RELIABILITY_EDGES, Influence, shapes
from attribench.formats.ranking import Ranking
from attribench.rank.histogram import add_scores
from attribench.rank.products import Scores
from helpers.rankings import make_ranking, text


def of_scores(
    database: np.ndarray,
    exemplars: Sequence[Sequence[float]],
    entry: Sequence[int],
    prompt_type: Sequence[str],
    k: int = 5,
    **changes,
) -> tuple[Ranking, ScoreHistogram]:
    """Return how queries rank whose scores are these, and their histograms.

    database: float64 [Q, N]; exemplars: of each query, falling; a query without any is invalid. `changes` are other values
    of the ranking's fields.
    """
    database = np.asarray(database, np.float64)
    valid = np.array([len(own) > 0 for own in exemplars])
    ranks = [
        [i + (row >= e - 1e-9).sum() for i, e in enumerate(own, 1)]
        for own, row in zip(exemplars, database, strict=True)
    ]
    order = np.argsort(-database, axis=1, kind="stable")[:, :k]
    index, kept = np.full((len(database), k), -1), np.full((len(database), k), np.nan)
    index[valid, : order.shape[1]] = order[valid]
    kept[valid, : order.shape[1]] = np.take_along_axis(database, order, axis=1)[valid]
    fields = {
        "scores": np.array([score for own in exemplars for score in own], np.float64),
        "neighbour_index": index,
        "neighbour_score": kept,
        "neighbour_path": text([[f"d/{i}.png" if i >= 0 else "" for i in row] for row in index]),
        "n_database": database.shape[1],
    }
    anchor = np.array([max(own, default=np.nan) for own in exemplars])
    moments = np.zeros((len(database), BINS, 3), np.float32)
    moments[valid] = binned(database[valid], anchor[valid])
    return make_ranking(ranks, entry, prompt_type, k, **fields | changes), ScoreHistogram(anchor, moments)


def binned(scores: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """Return the moments of a histogram of `scores` [q, n] as ranking would count them, with `anchor` [q]."""
    (q, n), moments = scores.shape, np.zeros((len(scores), BINS, 3), np.float32)
    add_scores(Scores(scores[None], np.zeros(n), np.zeros(q), np.zeros(q), 0.0), q, anchor, moments)
    return moments


def influence_by_formula(scores: np.ndarray, calibrator: Calibrator) -> np.ndarray:
    """Return the influence of the candidates with `scores` [n], float64 [n], from the formula as it is published."""
    scaled = calibrator.inv_tau * np.asarray(scores, np.float64)
    t = np.maximum(0, np.exp(scaled - scaled.max()) + 0.001 * calibrator.bias)
    return t / t.sum()


def by_brute_force(
    database: np.ndarray, exemplars: np.ndarray, calibrator: Calibrator, k: int
) -> dict[str, np.ndarray]:
    """Return what `Influence` says of one query, by name, from the scores of all its candidates."""
    scores = np.concatenate([exemplars, database])
    p, own = influence_by_formula(scores, calibrator), np.arange(len(scores)) < len(exemplars)
    # A database image that ties with an exemplar ranks above it.
    order = np.lexsort([own, -np.where(own, scores - 1e-9, scores)])
    ranked, ranked_own = p[order], own[order]
    falling = np.cumsum(np.sort(p)[::-1])
    bins = np.clip(np.searchsorted(RELIABILITY_EDGES, p, side="right") - 1, 0, len(RELIABILITY_EDGES) - 2)
    n_bins = len(RELIABILITY_EDGES) - 1
    with np.errstate(divide="ignore"):
        log_likelihood = np.mean(np.log(p[own]))
    return {
        "exemplar": ranked[ranked_own],
        "above": (np.cumsum(ranked) - ranked)[ranked_own],
        "top": np.pad(ranked[:k], (0, max(0, k - len(ranked))), constant_values=np.nan),
        "remaining": ranked[k:].sum(),
        "effective_number": np.exp(-sum(x * np.log(x) for x in p if x > 0)),
        "log_likelihood": log_likelihood,
        "log_likelihood_uniform": np.log(1 / len(scores)),
        "log_likelihood_uncalibrated": np.mean(exemplars) - np.log(np.exp(scores).sum()),
        "set_size": np.interp(LEVELS, np.append(0, falling), np.arange(len(falling) + 1)),
        "in_bin": np.bincount(bins, minlength=n_bins),
        "predicted": np.bincount(bins, p, n_bins),
        "observed": np.bincount(bins, own / own.sum(), n_bins),
    }


def influence_with(ranking: Ranking, **values) -> Influence:
    """Return influence of the candidates of `ranking` with these `values` by name, else 1 everywhere.

    An array may be given as a dict of the entries that are not 0.
    """
    arrays = {name: np.ones(shape) for name, shape in shapes(ranking).items()}
    for name, given in values.items():
        if isinstance(given, dict):
            arrays[name] = np.zeros_like(arrays[name])
            for index, value in given.items():
                arrays[name][index] = value
        else:
            arrays[name] = np.asarray(given, np.float64).reshape(arrays[name].shape)
    return Influence(**arrays)
