"""Calibrate influence: find the inv_tau and bias by which the true exemplars of val queries are most likely.

The likelihood of a query is the mean over its exemplars of the logarithm of their influence: each is as likely to be the one
that made the image. Both numbers are found together, from the best point of a grid on.

The bias is at least 0. With a negative one, candidates far below the best have no influence; val queries whose exemplars all
rank high can favour that, and one such exemplar in an evaluated query then makes its log-likelihood -inf.
"""

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from attribench.common.errors import InputError
from attribench.common.files import write_text
from attribench.formats.calibrator import BIAS_GAIN, Calibrator, write_calibrator
from attribench.formats.histogram import read_histogram
from attribench.formats.rank_file import read_rank_file
from attribench.formats.ranking import Ranking, seen_of
from attribench.influence import Candidates, in_blocks, log_likelihood

# The grid. Inverse temperatures are in units of one over the spread of scores; biases by the sum of what they add to all
# candidates, over the exponential of the best one, which is 1.
_INVERSE_TEMPERATURES = 2.0 ** np.arange(-3, 8)
_BIASES = (0.0, 0.01, 0.1, 1.0)
_ITERATIONS = 500
_FEW_ENTRIES = 6
_LEAST_SPREAD = 1e-6  # of scores; less is rounding
_NO_GAIN = 1e-6  # nats: as near to uniform influence as rounding is

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fit:
    """Hold a calibrator, and the mean log-likelihood of the queries of the fit: its own, and that of uniform influence."""

    calibrator: Calibrator
    log_likelihood: float
    uniform: float
    n_queries: int


def calibrate(
    checkpoint: Path | str,
    record: Path | str,
    *,
    ranks: Sequence[Path | str],
    histograms: Sequence[Path | str],
    benchmark: str,
) -> None:
    """Fit a calibrator to the rank files and score histograms of a benchmark's val splits; write it, and a record as JSON.

    Scores that do not tell exemplars from other images give about the same influence to all candidates; the log says so.
    Raises InputError where no query can be ranked, and for a split that the method's mappers were trained on.
    """
    blocks, n_candidates, splits, n_entries = [], [], [], 0
    for path, histogram in zip(ranks, histograms, strict=True):
        ranking = read_rank_file(path)
        _refuse_trained_on(ranking, benchmark)
        splits.append(ranking.split)
        of_split = in_blocks(ranking, read_histogram(histogram, len(ranking.query_valid)))
        blocks += [candidates for _, _, candidates in of_split]
        n_candidates.append(ranking.n_candidates[ranking.query_valid])
        n_entries += len(np.unique(ranking.query_entry[ranking.query_valid]))
    if not any(block.weights.size for block in blocks):
        raise InputError(
            f"{ranks[0]}: no valid query of {', '.join(splits)} is ranked among images of a database; expected some, to "
            "calibrate influence on"
        )
    fitted = fit(blocks, np.concatenate(n_candidates))
    if fitted.log_likelihood < fitted.uniform + _NO_GAIN:
        log.warning(
            "no calibrator makes the exemplars of %s more likely than uniform influence does", ", ".join(splits)
        )
    write_calibrator(checkpoint, fitted.calibrator)
    if n_entries < _FEW_ENTRIES:
        log.warning("fitted to %d entries of %s alone: too few to trust the calibrator", n_entries, ", ".join(splits))
    plain = {"splits": splits, "n_queries": fitted.n_queries, "n_entries": n_entries, **fitted.calibrator._asdict()}
    plain |= {"log_likelihood": fitted.log_likelihood, "log_likelihood_uniform": fitted.uniform}
    write_text(record, json.dumps(plain, indent=1, sort_keys=True) + "\n")
    log.info("inv_tau %.6g, bias %.6g: log-likelihood %.4f", *fitted.calibrator, fitted.log_likelihood)


def _refuse_trained_on(ranking: Ranking, benchmark: str) -> None:
    if seen_of(ranking, benchmark) == "train":
        raise InputError(
            f"config key calibration_splits: {ranking.split} trained the mappers of {ranking.variant}, which are too good "
            "there; expected other splits"
        )


def fit(blocks: Sequence[Candidates], n_candidates: np.ndarray) -> Fit:
    """Return the calibrator of the highest mean log-likelihood over all queries of `blocks`.

    n_candidates: int64 [Q], images that each query ranks.
    """
    unit, n = _spread(blocks), float(np.mean(n_candidates))

    def calibrator(position: np.ndarray) -> Calibrator:
        # The sinh takes even steps near 0, and even ratios far from it.
        return Calibrator(float(np.exp(position[0]) / unit), float(np.sinh(position[1]) / n / BIAS_GAIN))

    def loss(position: np.ndarray) -> float:
        total = sum(float(log_likelihood(block, calibrator(position)).sum()) for block in blocks)
        return -total / len(n_candidates)

    grid = [np.array([np.log(t), np.arcsinh(bias)]) for t in _INVERSE_TEMPERATURES for bias in _BIASES]
    start = min(grid, key=loss)
    simplex = start + 0.3 * np.array([[0, 0], [1, 0], [0, 1]])
    options = {"initial_simplex": simplex, "xatol": 1e-7, "fatol": 1e-12, "maxiter": _ITERATIONS}
    optimum = minimize(loss, start, method="Nelder-Mead", bounds=[(None, None), (0, None)], options=options)
    if not optimum.success or abs(optimum.x[0]) > np.log(_INVERSE_TEMPERATURES[-1]) + 1:
        log.warning(
            "the likelihood has no peak near inv_tau %g: too few val queries, or too easy ones",
            calibrator(optimum.x)[0],
        )
    return Fit(calibrator(optimum.x), -float(optimum.fun), -float(np.mean(np.log(n_candidates))), len(n_candidates))


def _spread(blocks: Sequence[Candidates]) -> float:
    """Return the root of the mean squared distance of candidates' scores from their query's mean, over all queries."""
    squares = counts = 0.0
    for block in blocks:
        scores = np.concatenate([block.scores, np.nan_to_num(block.exemplars)], axis=1)
        weights = np.concatenate([block.weights, ~np.isnan(block.exemplars)], axis=1)
        n = weights.sum(axis=1, keepdims=True)
        mean = (weights * scores).sum(axis=1, keepdims=True) / n
        squares += float((weights * (scores - mean) ** 2).sum())
        counts += float(n.sum())
    return max(math.sqrt(squares / counts), _LEAST_SPREAD)
