"""Blocks of copies: how these are found, and that no result shows them."""

import itertools

import numpy as np
import pytest
from attribench import rank_copies, rank_filters
from attribench.rank_doubt import Pairs
from attribench.rank_kernels import dot, four_pairs
from rank_cases import check, check_as, look_for_groups, of_two_entries, run, unit

D, K = 8, 5


def test_copies_follow_each_other():
    rng = np.random.default_rng(0)
    different = np.concatenate([rng.standard_normal((30, D)), np.zeros((1, D)), np.full((1, D), -0.5)])
    different[1], different[2] = different[0], different[3][::-1]  # one bit, and the order of values, make rows differ
    different[1, -1] = np.nextafter(different[0, -1], 1)
    of = rng.permutation(np.repeat(np.arange(32), 5))
    order, starts = rank_copies.find_copies(different[of])
    assert len(starts) == 33 and starts[0] == 0 and starts[-1] == 160 and set(np.diff(starts)) == {5}
    for a, b in itertools.pairwise(starts):
        assert len(set(of[order[a:b]])) == 1 and (np.diff(order[a:b]) > 0).all()
    for rows in (different, different[:1], np.concatenate([different[of[:20]], different])):
        assert rank_copies.find_copies(rows) is None


def test_rows_of_one_digest_are_not_taken_for_copies(monkeypatch):
    monkeypatch.setattr(rank_copies, "_digest", lambda rows, digest: digest.fill(7))
    rows = np.repeat(np.random.default_rng(0).standard_normal((4, D)), 10, axis=0)
    order, starts = rank_copies.find_copies(rows)
    assert starts.tolist() == [0, 10, 20, 30, 40] and order.tolist() == list(range(40))
    assert rank_copies.find_copies(rows[np.arange(40) % 4 * 10]) is None


@pytest.mark.parametrize("n_images", [1, 9, 200])
def test_copies_are_ranked_as_well_as_one_by_one(n_images, monkeypatch):
    """Most of them exemplars, in blocks, one of which has few; with hard negatives and invalid rows."""
    rng = np.random.default_rng(0)
    queries, exemplars = unit(rng.standard_normal((6, 32))), unit(rng.standard_normal((4, 32)))[np.arange(12) // 3]
    images = np.concatenate([exemplars, unit(rng.standard_normal((200, 32)))])[:n_images]
    x = np.concatenate([images[rng.integers(0, n_images, 2000)], unit(rng.standard_normal((700, 32)))])
    case = of_two_entries(queries, exemplars, x, rng)
    options = {"top_k": 7, "block_rows": 900, "block_queries": 4, "sizes": [500], "threads": 2}
    alone = [run(case, hard_negatives=hard, use_filter="float64", **options) for hard in (False, True)]
    check(case, alone[0], 7)

    look_for_groups(monkeypatch, copies=True)
    scanned, scan = [], rank_copies.scan_copies_tile

    def noted(tile, *given):
        scanned.append(tile.shape[1])
        scan(tile, *given)

    monkeypatch.setattr(rank_copies.CopiesFilter, "scan", staticmethod(noted))
    check_as(alone, case, **options)
    assert len(scanned) >= 8 and max(scanned) <= 0.5 * 900 and min(scanned) <= n_images


@pytest.mark.parametrize("bound", [1e-4, 0.2])
def test_scores_at_the_edge_of_their_bounds_change_nothing(bound):
    rng = np.random.default_rng(0)
    for n, m in ((1, 1), (40, 20), (300, 300), (40, 0)):
        queries, units = unit(rng.standard_normal((4, D))), unit(rng.standard_normal((n, D)))
        starts = np.concatenate([[0], np.cumsum(rng.integers(1, 9, n))])
        scores = np.array([[dot(q, x) for x in units] for q in queries])
        below = rng.choice([1e-9, 0.0, -1e-9], m)
        threshold = -np.sort(-(scores[:, rng.integers(0, n, m)] - below), axis=1)
        counts, nothing = np.zeros(4 * m, np.int64), np.empty((0, 0))
        of_rows = (units, units.astype(np.float32), starts, np.zeros(n, int))
        given = (
            queries,
            queries.astype(np.float32),
            *of_rows,
            nothing,
            nothing,
            False,
            nothing[0:0].ravel(),
            np.zeros(n),
        )
        pairs = Pairs(*given, np.arange(5) * m, threshold.ravel(), counts, nothing, rank_filters.FULL)
        top_score, top_index = np.full((4, K), -np.inf), np.full((4, K), -1, np.int64)
        rows = rng.permutation(starts[-1])
        for a, b in itertools.pairwise(starts):
            rows[a:b].sort()
        tile = scores + 0.999 * bound * rng.choice([-1, 0, 1], scores.shape)
        rank_copies.scan_copies_tile(tile, pairs, np.full((4, 1), bound), 0.0, rows, top_score, top_index)
        everyone = np.repeat(scores, np.diff(starts), axis=1)
        assert counts.tolist() == (everyone[:, :, None] >= threshold[:, None, :]).sum(axis=1).ravel().tolist()
        best = np.stack([rows[np.lexsort((rows, -score))[:K]] for score in everyone])
        assert top_index[:, : best.shape[1]].tolist() == best.tolist()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
def test_four_pairs_have_the_canonical_scores(n):
    rng = np.random.default_rng(n)
    a, b, out = rng.standard_normal((7, 100)), rng.standard_normal((9, 100)), np.empty(4)
    pairs = np.stack([rng.integers(0, 7, n), rng.integers(0, 9, n), np.zeros(n), np.zeros(n)], axis=1).astype(np.int32)
    for start in range(0, n, 4):
        four_pairs(a, b, pairs, start, out)
        for q, row, score in zip(*pairs[start : start + 4, :2].T, out, strict=False):
            assert score == dot(a[q], b[row])
