"""Every fast path gives the bytes of the canonical arithmetic, which is all that skipped work may do."""

import itertools

import numpy as np
import pytest
from attribench.rank import bounds, products, ranker, scan
from attribench.rank.score import pair_scores, row_norms
from helpers.rank_cases import CHOICES, FEW, HAS_BFLOAT16, PRODUCTS, check, close_case, rank, run, same, unit
from hypothesis import given
from hypothesis import strategies as st


def canonical(case, top_k):
    """Rank a case of valid rows by canonical scores alone: (ranks, neighbours, their scores) of each query."""
    units, exemplars, x = unit_rows(case["queries"]), unit_rows(case["exemplars"]), case["x"]
    norms, _ = row_norms(x)
    results = []
    for q in range(len(units)):
        own = np.flatnonzero(case["e_entry"] == case["q_entry"][q])
        pairs = np.array([(q, e) for e in own], np.int32)
        thresholds = np.sort(pair_scores(units, exemplars, np.ones(len(exemplars)), pairs))[::-1] - 1e-9
        scores = pair_scores(units, x, norms, np.array([(q, r) for r in range(len(x))], np.int32))
        counts = (scores >= thresholds[:, None]).sum(axis=1)
        nearest = np.lexsort((np.arange(len(x)), -scores))[:top_k]
        results.append((counts + np.arange(1, len(own) + 1), nearest, scores[nearest]))
    return results


def unit_rows(rows):
    return np.asarray(rows, np.float64) / row_norms(np.ascontiguousarray(rows, np.float64))[0][:, None]


def check_canonical(case, ranking, top_k):
    for q, (ranks, nearest, scores) in enumerate(canonical(case, top_k)):
        assert ranking.ranks[ranking.pairs(q)].tolist() == ranks.tolist()
        assert ranking.neighbour_index[q].tolist() == nearest.tolist()
        assert ranking.neighbour_score[q].tobytes() == scores.tobytes()


# Rows [n, d] of kinds that networks make, and of kinds that nothing but other methods make: these may be slow, not wrong.
KINDS = {
    "directions": lambda rng, n, d: rng.standard_normal((n, d)),
    "alike": lambda rng, n, d: 1 + 0.05 * rng.standard_normal((n, d)),
    "not below 0": lambda rng, n, d: np.maximum(rng.standard_normal((n, d)), 0) + 1e-3,
    "sparse": lambda rng, n, d: rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.03) + 1e-9,
    "codes": lambda rng, n, d: np.sign(rng.standard_normal((n, d))),
    "counts": lambda rng, n, d: rng.poisson(0.3, (n, d)) + 1.0 * (np.arange(d) == 0),
    "few images over and over": lambda rng, n, d: np.random.default_rng(0).standard_normal((40, d))[
        rng.integers(0, 40, n)
    ],
    "near copies": lambda rng, n, d: (
        np.random.default_rng(0).standard_normal((40, d))[rng.integers(0, 40, n)] + 1e-7 * rng.standard_normal((n, d))
    ),
    "wide ranging": lambda rng, n, d: rng.standard_normal((n, d)) ** 5,
}


def case_of(kind, dimension, n_exemplars, n=1500, n_queries=30):
    rng = np.random.default_rng(dimension)
    rows = [KINDS[kind](rng, count, dimension).astype(np.float32) for count in (n_queries, 3 * n_exemplars, n)]
    rows[2][::50] = rows[1][rng.integers(0, len(rows[1]), len(rows[2][::50]))]  # exact copies of exemplars among them
    case = dict(zip(("queries", "exemplars", "x"), rows, strict=True))
    case |= {"q_entry": np.arange(n_queries) % 3, "e_entry": np.arange(3 * n_exemplars) % 3}
    return case | {f"{name}_valid": np.ones(len(r), bool) for name, r in zip("qex", rows, strict=True)}


@pytest.mark.parametrize("n_exemplars", [1, 12, 67])
@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_rows(kind, n_exemplars):
    """Each product alone, and all that the ranker chooses between, in several blocks and by several threads."""
    case = case_of(kind, 70, n_exemplars)
    rankings = [run(case, pieces=3, threads=2, block_rows=300, products=names) for names in CHOICES]
    check_canonical(case, rankings[0], 10)
    for ranking in rankings[1:]:
        same(rankings[0], ranking)


@FEW
@given(st.integers(0, 2**32 - 1), st.sampled_from([16, 300]), st.sampled_from([1, 12, 67]), st.data())
def test_scores_a_hair_apart(seed, dimension, n_exemplars, data):
    """Database rows whose scores differ from an exemplar's by 1e-10, 1e-8 and more: far within every product's bound."""
    case, known = close_case(seed, dimension, n_exemplars, data)
    rankings = [run(case, products=names, top_k=5, block_rows=700) for names in CHOICES]
    check(known, rankings[0], 5)
    for ranking in rankings[1:]:
        same(rankings[0], ranking)


@pytest.mark.parametrize("dimension", [2, 64, 512])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("product", PRODUCTS)
def test_the_tolerance_is_seen_where_float32_sees_nothing(dimension, threads, product):
    rng = np.random.default_rng(dimension)
    queries, exemplars = unit(rng.standard_normal((8, dimension))), unit(rng.standard_normal((8, dimension)))
    steps = [-1e-8, -2e-9, -1.1e-9, -9e-10, -1e-10, 0.0, 1e-10, 1e-8]
    for q, e in zip(queries, exemplars, strict=True):
        toward = q - (q @ e) * e
        x = e + np.array(steps)[:, None] * toward / (toward @ q)  # cosine with q: that of e plus the step
        ranking = rank(q[None], [0], e[None], [0], [(x, None)], threads=threads, products=[product])
        assert ranking.ranks.tolist() == [1 + sum(step >= -1e-9 for step in steps)]
        assert ranking.neighbour_index[0, :8].tolist() == [7, 6, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("product", PRODUCTS)
def test_queues_that_are_always_full(product, monkeypatch):
    """Forty queries, to each of which every database row is a tie of one of two exemplars; queues for a query at a time."""
    monkeypatch.setattr(ranker, "_QUEUED_PAIRS", 0)
    rng = np.random.default_rng(0)
    exemplars = unit(rng.standard_normal((2, 64)))
    queries, x = unit(rng.standard_normal((40, 64))), exemplars[rng.permutation(np.arange(900) % 3 // 2)]
    ranking = rank(queries, np.zeros(40), exemplars, [0, 0], [(x, None)], top_k=1, products=[product])
    first_is_better = queries @ exemplars[0] > queries @ exemplars[1]
    expected = [[601, 902] if first else [301, 902] for first in first_is_better]
    assert ranking.ranks.reshape(40, 2).tolist() == expected


def test_a_score_that_is_a_threshold_reaches_it():
    pairs, counts = np.array([[0, 0, 0, 3]], np.int32), np.zeros(3, np.int64)
    n_left = scan.count_pairs(np.array([0.5]), pairs, -1.0, np.array([0, 3]), np.array([0.75, 0.5, 0.25]), counts)
    assert (n_left, counts.tolist()) == (0, [0, 1, 1])


def note_products(monkeypatch):
    """Note each product that is multiplied: its name, and the slice of the queries."""
    used = []
    for product in (products.Float32Product, products.Bfloat16Product, products.Float64Product):

        def noted(self, queries, part, *rest, multiply=product.multiply):
            used.append((self.name, part))
            return multiply(self, queries, part, *rest)

        monkeypatch.setattr(product, "multiply", noted)
    return used


def test_a_finer_product_takes_over_where_too_many_pairs_are_undecided(monkeypatch):
    """Part by part of the queries, within a tile, and for good; the bytes do not show it."""
    monkeypatch.setattr(ranker, "_TILE_BYTES", 1)
    monkeypatch.setattr(ranker, "_FEWEST_QUERIES", 160)
    well, crowded = case_of("directions", 64, 12, n_queries=160), case_of("near copies", 64, 12, n_queries=160)
    case = {name: np.concatenate([well[name], crowded[name]]) for name in well}
    for name in ("q_entry", "e_entry"):
        case[name] = np.concatenate([well[name], 1 + well["e_entry"].max() + crowded[name]])
    case["x"] = case["x"][np.random.default_rng(0).permutation(3000)]
    used = note_products(monkeypatch)
    ranking = run(case, block_rows=1000)
    monkeypatch.undo()
    assert used == [
        *[("float32", slice(0, 160)), ("float32", slice(160, 320)), ("float64", slice(288, 320))],
        *[("float32", slice(0, 160)), ("float64", slice(160, 320))] * 2,
    ]
    same(ranking, run(case, products=["float64"]))


def test_a_full_queue_of_undecided_pairs_tells_enough(monkeypatch):
    """A block so long that few queries fill the queue: they are not ranked by their undecided pairs, block after block."""
    monkeypatch.setattr(ranker, "_QUEUED_PAIRS", 2500)
    case = case_of("near copies", 64, 12, n_queries=160)
    used = note_products(monkeypatch)
    ranking = run(case, block_rows=1500)
    monkeypatch.undo()
    (first, _), (second, rest), *_ = used
    assert (first, second) == ("float32", "float64") and rest.start < 10
    same(ranking, run(case, products=["float64"]))


@pytest.mark.skipif(not HAS_BFLOAT16, reason="no bfloat16 products here")
def test_only_large_rankings_take_bfloat16():
    assert products.choose_products(64, 10**6) == ["float32", "float64"]
    assert products.choose_products(64, 10**11) == ["bfloat16", "float32", "float64"]


def test_bfloat16_is_used_wherever_the_processor_has_it():
    """Else all that is tried of it here would be left out, and nobody would know."""
    import torch

    able = torch.cpu.get_capabilities()
    assert HAS_BFLOAT16 == bool(able.get("avx512_bf16") or able.get("amx_bf16"))


@pytest.mark.skipif(not HAS_BFLOAT16, reason="no bfloat16 products here")
def test_trying_bfloat16_leaves_torch_its_threads():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert products.has_bfloat16.__wrapped__(32)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_processor_that_sums_up_otherwise_is_not_trusted_with_bfloat16(monkeypatch):
    if HAS_BFLOAT16:
        assert products.Bfloat16Product(64).satisfies_assumption()
    monkeypatch.setattr(bounds, "rounded_error", lambda q, *lengths: 0 * q)
    monkeypatch.setattr(bounds, "low_precision_sum_error", lambda columns, q, y: 0 * q)
    assert not products.Bfloat16Product(64).satisfies_assumption()


def spread(rng, dimension):
    """Rows [40, d] in all directions, with terms of one sign, and close together: about 1, 0.5 and 0.001 from their mean."""
    for made in (rng.standard_normal((40, dimension)), rng.random((40, dimension)) + 0.5):
        yield unit(made)
    yield unit(np.ones(dimension) + 1e-3 * rng.standard_normal((40, dimension)))


@pytest.mark.parametrize("dimension", [1, 64, 512, 770, 4096])
@pytest.mark.parametrize("name", PRODUCTS)
def test_the_bounds_of_products_hold(dimension, name):
    """Also for terms of one sign, where rounding errors add up most, and for rows that lie close together."""
    rng = np.random.default_rng(dimension)
    product = products.PRODUCTS[name](dimension)
    allowed = {"float32": 1e-4, "bfloat16": 0.02, "float64": 1e-11}[name]
    for units, rows in itertools.product(spread(rng, dimension), list(spread(rng, dimension))):
        queries = products.Queries(units)
        block = products.Rows(rows, np.ones(40), queries.centre)
        scores = product.multiply(queries, slice(0, 40), block, np.empty(40 * 40 * product.bytes_per_score, np.uint8))
        expected = units @ rows.T - scores.offset[:, None]
        margin = scores.bound[:, None] + scores.relative * (np.abs(expected) + scores.bound[:, None])
        assert (np.abs(scores.tile.astype(np.float64).sum(axis=0) + scores.tilt - expected) <= margin).all()
        if dimension > 1:
            assert scores.bound.max() < allowed * max(block.longest, 1e-6 if name == "float64" else 0) + 1e-11


@pytest.mark.parametrize("dimension", [1, 64, 512, 4096])
def test_the_bound_of_the_float64_dot_product_holds(dimension):
    rng = np.random.default_rng(dimension)
    for units in spread(rng, dimension):
        pairs = np.array(list(itertools.product(range(40), repeat=2)), np.int32)
        raw = units * rng.uniform(0.1, 10, (40, 1))
        norms, _ = row_norms(raw)
        exact = pair_scores(units, raw, norms, pairs)
        dots = scan.dot_pairs(units, raw, norms, pairs)
        for other in (dots, ((units @ raw.T) / norms).ravel()):
            assert np.abs(other - exact).max() <= bounds.float64_error(dimension) < 2e-11


SCORES = {
    "spread": lambda rng, n: rng.standard_normal(n),
    "few values": lambda rng, n: rng.integers(-20, 20, n) / 16,
    "all one value": lambda rng, n: np.full(n, 0.25),
    "of many magnitudes": lambda rng, n: np.exp(3 * rng.standard_normal(n)) * 1e-4,
    "mostly 0": lambda rng, n: rng.standard_normal(n) * (rng.random(n) < 0.1),
    "nearly none": lambda rng, n: np.where(rng.random(n) < 0.01, 10 + rng.random(n), rng.random(n)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bound", [0.0, 1e-6, 0.01])
@pytest.mark.parametrize("m", [1, 5, 67, 300])
@pytest.mark.parametrize("kind", SCORES)
def test_a_scan_counts_what_is_certain_and_queues_the_rest(kind, m, bound, dtype):
    """Each score of each query, at each threshold, exactly once."""
    rng, n = np.random.default_rng(m), 3000
    rows = [SCORES[kind](rng, n).astype(dtype) for _ in range(3)]
    thresholds = np.concatenate(
        [-np.sort(-(rng.choice(row, m) - rng.choice([0.0, bound, 3 * bound], m))) for row in rows]
    )
    for row in rows:
        row[rng.random(n) < 0.02] = -np.inf
    scores = products.Scores(np.stack(rows)[None], np.zeros(n, dtype), np.zeros(3), np.full(3, bound), 0.0)
    counts, queues = np.zeros(3 * m, np.int64), (np.empty((9 * n, 4), np.int32), np.empty((9 * n, 2), np.int32))
    offsets, top_score = np.arange(4) * m, np.full((3, 0), -np.inf)
    done, n_pairs, n_candidates, has_too_many_undecided = scan.scan(
        scores, 0, np.inf, offsets, thresholds, counts, top_score, *queues
    )
    assert (done, n_candidates, has_too_many_undecided) == (3, 0, False)
    slack = 4 * np.finfo(dtype).eps
    for q, row in enumerate(rows):
        threshold = thresholds[q * m : (q + 1) * m]
        queued = np.zeros((n, m), bool)
        for _, r, first, last in queues[0][:n_pairs][queues[0][:n_pairs, 0] == q]:
            assert not queued[r].any(), "no row is queued twice"
            queued[r, first:last] = True
        above = row[:, None].astype(np.float64) - threshold
        reached = (above >= 0) & ~queued
        assert (np.abs(above[queued]) <= bound + slack * (1 + np.abs(threshold).max())).all(), "only what may be wrong"
        assert queued[(np.abs(above) < bound) & np.isfinite(above)].all(), "all that may be wrong"
        assert counts[q * m : (q + 1) * m].tolist() == reached.sum(axis=0).tolist()
