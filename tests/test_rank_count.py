"""Counting scores at edges: each way gives the same counts, and leaves the same pairs in doubt."""

import numpy as np
import pytest
from attribench import rank_count
from attribench.rank_doubt import waiting_room


def scores_of(rng, kind, n):
    return {
        "spread": lambda: rng.standard_normal(n),
        "few values": lambda: rng.integers(-20, 20, n) / 16,
        "all one value": lambda: np.full(n, 0.25),
        "of many magnitudes": lambda: np.exp(3 * rng.standard_normal(n)) * 1e-4,
        "mostly 0": lambda: rng.standard_normal(n) * (rng.random(n) < 0.1),
        "nearly none": lambda: np.where(rng.random(n) < 0.01, 10 + rng.random(n), rng.random(n)),
    }[kind]()


def edges_of(scores, rng, m, width, dtype):
    """Low, high [m] and first [m + 1], as `rank_scan` makes them of thresholds at some of the `scores`."""
    chosen = rng.choice(scores, m)
    threshold = -np.sort(-(chosen - rng.choice([0.0, width, 3 * width], m)))
    low, high, first = [], [], []
    for j, value in enumerate(threshold):
        least, certain = dtype(value - width), dtype(value + width * rng.choice([0, 1]))
        if low and certain >= low[-1]:
            low[-1] = min(least, low[-1])
        else:
            low.append(least), high.append(max(certain, least)), first.append(j)
    return np.array(low), np.array(high), np.array([*first, m])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [0.0, 1e-6, 0.01])
@pytest.mark.parametrize("m", [1, 5, 67, 300])
@pytest.mark.parametrize(
    "kind", ["spread", "few values", "all one value", "of many magnitudes", "mostly 0", "nearly none"]
)
def test_each_way_counts_the_same(kind, m, width, dtype):
    rng = np.random.default_rng(m)
    scores = scores_of(rng, kind, 3000).astype(dtype)
    scores[rng.random(3000) < 0.02] = -np.inf
    edges = edges_of(scores[np.isfinite(scores)], rng, m, width, dtype)
    low, high, first = edges
    certain = np.repeat((scores[:, None] >= high).sum(axis=0), np.diff(first))
    doubtful = {(i, j) for i, j in np.argwhere((scores[:, None] >= low) & (scores[:, None] < high))}
    expected = certain.tolist(), {(3, 10 + i, first[j], first[j + 1]) for i, j in doubtful if scores[i] > -np.inf}
    for way in ("compare", "pick", "buckets", "curved buckets", "edges", "curved edges"):
        assert (way, *_count(way, scores, edges, m)) == (way, *expected)


def _count(way, scores, edges, m):
    """The counts at each threshold, and the pairs that wait."""
    room, waiting, counts = rank_count.counting_room(scores, m), waiting_room(len(scores)), np.zeros(m, np.int64)
    low, high, first = edges
    place = (3, 10)
    if way == "compare":
        n_limits = rank_count._limits(low, high, room)
        n = rank_count._compare(scores, place, edges, n_limits, room, waiting.pair, 0)
    elif way == "pick":
        found = room.found[: rank_count._pick(scores, low[-1], room.found)]
        room.sure[:] = 0
        n = rank_count._place(scores, place, found, None, None, edges, room, waiting.pair, 0)
    else:
        room.way[0] = 1 if way.endswith("edges") else 0
        is_curved = True if way.startswith("curved") else None
        n = rank_count._count_in_buckets(scores, place, edges, is_curved, room, waiting.pair, 0)
    rank_count._add_counts(first, room, counts)
    return counts.tolist(), {tuple(pair) for pair in waiting.pair[:n].tolist()}
