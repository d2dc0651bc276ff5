"""Counting and picking in a tile of scores that are as wrong as a filter's bound allows, which no real product's are."""

import numpy as np
import pytest
from attribench import rank_blocks, rank_filters
from attribench.rank import rank
from attribench.rank_doubt import FULL, Pairs
from attribench.rank_groups import Groups
from attribench.rank_kernels import dot
from attribench.rank_scan import scan_tile
from rank_cases import unit

D, K = 8, 5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("is_centred", [False, True])
@pytest.mark.parametrize("n_groups", [1, 12])
@pytest.mark.parametrize("relative, steps", [(0.0, 0), (2.0**-8, 0), (0.0, 1.3)])  # bounds: of whole numbers' scales
@pytest.mark.parametrize("bound", [1e-4, 0.01, 0.2])
def test_scores_at_the_edge_of_their_bounds_change_nothing(bound, relative, steps, n_groups, is_centred, dtype):
    rng = np.random.default_rng(0)
    for n, m in ((1, 1), (40, 20), (300, 300), (2000, 1), (2000, 20), (2000, 300)):
        queries = rank_blocks.Queries(unit(rng.standard_normal((4, D)) + 2 * is_centred))
        units, groups = unit(rng.standard_normal((n, D)) + 2 * is_centred), None
        if n_groups > 1 and n > n_groups:
            starts = np.concatenate([[0], np.sort(rng.choice(np.arange(1, n), n_groups - 1, replace=False)), [n]])
            groups = Groups(starts, unit(rng.standard_normal((n_groups, D))))
        block = rank_blocks.Block(units, groups=groups)
        scores = np.array([[dot(q, x) for x in block.units] for q in queries.units])
        shift = queries.units @ block.centres.T
        off = scores - shift[:, block.group] + 0.999 * (1 - steps / 2) * bound * rng.choice([-1, 0, 1], scores.shape)
        scale = np.where(steps > 0, steps * bound * rng.uniform(0.9, 1, shift.shape), 1)
        tile = off + 0.999 * relative * np.abs(off) * rng.choice([-1, 0, 1], scores.shape)
        tile = (np.rint(tile / scale[:, block.group]) if steps else tile).astype(dtype)
        below = rng.choice([1e-9, 0.0], m)  # and as close as rounding can tell
        threshold = -np.sort(-(scores[:, rng.integers(0, n, m)] - below), axis=1)
        counts, top_score, top_index = (
            np.zeros(4 * m, np.int64),
            np.full((4, K), -np.inf),
            np.full((4, K), -1, np.int64),
        )
        bounds, finer = rank_filters.dot_bounds(D, queries.longest * block.longest), m % 3
        margins = np.stack([bounds[finer], bounds[FULL], bounds[rank_filters.QUICK]])
        of_rows = (block.units, block.rows32, block.starts, block.group)
        given = (queries.units, queries.rows32, *of_rows, shift, scale, steps > 0, np.empty(0), queries.tilt(block))
        pairs = Pairs(*given, np.arange(5) * m, threshold.ravel(), counts, margins, finer)
        scan_tile(tile, pairs, np.full(shift.shape, bound), relative, np.arange(n), top_score, top_index)
        assert counts.tolist() == (scores[:, :, None] >= threshold[:, None, :]).sum(axis=1).ravel().tolist()
        best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        assert top_index[:, : best.shape[1]].tolist() == best.tolist()
        assert (top_index[:, best.shape[1] :] == -1).all()


@pytest.mark.parametrize("use_filter", ["float32", "float64"])
@pytest.mark.parametrize("n", [65_535, 65_536])
def test_a_block_of_more_rows_than_a_bucket_can_count(n, use_filter):
    """All of them alike, so that they are in one bucket."""
    rng = np.random.default_rng(0)
    queries, exemplars, row = (unit(rng.standard_normal((count, 4))) for count in (3, 200, 1))
    given = (queries, np.zeros(3), exemplars, np.zeros(200))
    ranking = rank(*given, [(row.repeat(n, 0), None)], block_rows=n, top_k=0, use_filter=use_filter)
    falling = -np.sort(-(queries @ exemplars.T), axis=1)
    expected = np.arange(1, 201) + n * (queries @ row.T >= falling - 1e-9)
    assert ranking.ranks.reshape(3, 200).tolist() == expected.tolist()
