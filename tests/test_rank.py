"""Ranks against a float64 brute force, on random and on adversarial rows, however the work is cut up."""

import itertools
import math

import numpy as np
import pytest
from attribench.errors import InputError
from attribench.rank import RankAccumulator, filter_bounds, rank
from hypothesis import given, settings
from hypothesis import strategies as st

FEW = settings(derandomize=True, deadline=None, max_examples=60, database=None)


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.maximum(np.sqrt((rows * rows).sum(axis=1, keepdims=True)), 1e-12)


def score_matrix(queries, images):
    """Scores [Q, N]; equal rows get equal bits, which a matrix product does not promise."""
    queries, images = unit(queries), unit(images)
    return np.array([(images * query).sum(axis=1) for query in queries]).reshape(len(queries), len(images))


def brute_force(case, top_k):
    """Per query None, or (ranks, exemplar rows, neighbours): a stable falling sort of [database, exemplars]."""
    x, e = case["x"], case["exemplars"]
    x_score = score_matrix(case["queries"], np.where(case["x_valid"][:, None], x, 0))
    e_score = score_matrix(case["queries"], np.where(case["e_valid"][:, None], e, 0))
    results = []
    for q in range(len(case["queries"])):
        own = np.flatnonzero((case["e_entry"] == case["q_entry"][q]) & case["e_valid"])
        if not case["q_valid"][q] or not len(own):
            results.append(None)
            continue
        rows = np.flatnonzero(case["x_valid"])
        # Raised by the tolerance, a database row comes before an exemplar that it ties with.
        candidates = np.concatenate([x_score[q, rows] + 1e-9, e_score[q, own]])
        order = np.argsort(-candidates, kind="stable")
        ranks = np.flatnonzero(order >= len(rows)) + 1
        neighbours = rows[np.argsort(-x_score[q, rows], kind="stable")][:top_k]
        results.append((ranks, own[order[ranks - 1] - len(rows)], x_score[q], neighbours))
    return results


def check(case, ranking, top_k):
    for q, expected in enumerate(brute_force(case, top_k)):
        part = slice(ranking.offsets[q], ranking.offsets[q + 1])
        index = ranking.neighbour_index[q]
        assert ranking.query_valid[q] == (expected is not None)
        if expected is None:
            assert part.start == part.stop and (index == -1).all() and np.isnan(ranking.neighbour_score[q]).all()
            continue
        ranks, exemplar, scores, neighbours = expected
        assert ranking.ranks[part].tolist() == ranks.tolist()
        assert sorted(ranking.exemplar[part]) == sorted(exemplar)
        found = index[index >= 0]
        assert len(found) == len(neighbours) and len(set(found)) == len(found)
        assert np.allclose(scores[found], scores[neighbours], rtol=0, atol=1e-13)
        assert np.allclose(ranking.neighbour_score[q][: len(found)], scores[found], rtol=0, atol=1e-13)
        for a, b in itertools.pairwise(range(len(found))):
            better, worse = ranking.neighbour_score[q][[a, b]]
            assert better > worse or (better == worse and found[a] < found[b])
    assert ranking.n_database == case["x_valid"].sum()
    assert ranking.n_database_invalid == (~case["x_valid"]).sum()


def run(case, pieces=1, **options):
    """Rank a case with its database in `pieces` slices."""
    cuts = np.linspace(0, len(case["x"]), pieces + 1).astype(int)
    database = [(case["x"][a:b], case["x_valid"][a:b]) for a, b in itertools.pairwise(cuts)]
    return rank(*inputs(case), database, **masks(case), **options)


def inputs(case):
    return case["queries"], case["q_entry"], case["exemplars"], case["e_entry"]


def masks(case):
    return {"query_valid": case["q_valid"], "exemplar_valid": case["e_valid"]}


def same(a, b):
    names = ("offsets", "ranks", "scores", "exemplar", "neighbour_index", "neighbour_score", "query_valid")
    assert all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in names)
    assert (a.n_database, a.n_database_invalid) == (b.n_database, b.n_database_invalid)


@st.composite
def cases(draw):
    """Rows with duplicates across exemplars and database, zero rows, huge and tiny norms, invalid rows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dimension = draw(st.sampled_from([1, 2, 3, 16, 67]))
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    n_entries = draw(st.integers(1, 4))
    n_exemplars = draw(st.lists(st.sampled_from([0, 1, 2, 7, 67]), min_size=n_entries, max_size=n_entries))
    n = draw(st.sampled_from([0, 1, 2, 40, 700]))
    e_entry = np.repeat(np.arange(n_entries), n_exemplars)
    q_entry = np.repeat(np.arange(n_entries), 3)
    coarse = draw(st.booleans())  # small whole numbers: many exact ties

    def rows(count):
        made = rng.standard_normal((count, dimension))
        return np.round(made) if coarse else made

    queries, exemplars, x = rows(len(q_entry)), rows(len(e_entry)), rows(n)
    if draw(st.booleans()) and n and len(exemplars):  # images of the database that are exemplars too
        copied = rng.integers(0, n, 10)
        x[copied] = exemplars[rng.integers(0, len(exemplars), 10)]
    if draw(st.booleans()) and n:
        x[rng.integers(0, n, 5)] = x[0]
    if draw(st.booleans()):
        for group in (queries, exemplars, x):
            group[rng.random(len(group)) < 0.2] = 0
    extreme = draw(st.sampled_from([0, 0, 100])) if dtype != np.float16 else 0
    for group in (queries, exemplars, x):  # powers of two, so that duplicates stay duplicates
        group *= 2.0 ** rng.choice([-extreme, 0, extreme], len(group))[:, None]
    invalid = draw(st.sampled_from([0.0, 0.3]))
    return {
        "queries": queries.astype(dtype),
        "q_entry": q_entry,
        "exemplars": exemplars.astype(dtype),
        "e_entry": e_entry,
        "x": x.astype(dtype),
        "q_valid": rng.random(len(queries)) >= invalid,
        "e_valid": rng.random(len(exemplars)) >= invalid,
        "x_valid": rng.random(n) >= invalid,
    }


@FEW
@given(cases(), st.sampled_from([0, 1, 3, 10]))
def test_ranks_are_those_of_a_sort(case, top_k):
    check(case, run(case, top_k=top_k, block_rows=300), top_k)


@FEW
@given(cases(), st.randoms(use_true_random=False))
def test_cutting_the_work_changes_no_bit(case, random):
    expected = run(case)
    options = {"block_rows": random.choice([1, 7, 256, 9000]), "block_queries": random.choice([1, 5, 100])}
    same(expected, run(case, pieces=random.randint(1, 6), threads=random.randint(1, 3), **options))

    cuts = sorted(random.choices(range(len(case["x"]) + 1), k=3))
    cuts = [0, *cuts, len(case["x"])]
    parts = []
    for a, b in itertools.pairwise(cuts):
        parts.append(RankAccumulator(*inputs(case), **masks(case), **options))
        parts[-1].add(case["x"][a:b], case["x_valid"][a:b], a)
    random.shuffle(parts)
    merged = parts[0]
    for part in parts[1:]:
        merged.merge(part)
    same(expected, merged.finish())


@pytest.mark.parametrize("dimension", [2, 64, 512])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_tolerance_is_seen_where_float32_sees_nothing(dimension, threads):
    rng = np.random.default_rng(dimension)
    queries, exemplars = unit(rng.standard_normal((8, dimension))), unit(rng.standard_normal((8, dimension)))
    steps = [-1e-8, -2e-9, -1.1e-9, -9e-10, -1e-10, 0.0, 1e-10, 1e-8]
    for q, e in zip(queries, exemplars, strict=True):
        toward = q - (q @ e) * e
        x = e + np.array(steps)[:, None] * toward / (toward @ q)  # cosine with q: that of e plus the step
        ranking = rank(q[None], [0], e[None], [0], [(x, None)], threads=threads)
        assert ranking.ranks.tolist() == [1 + sum(step >= -1e-9 for step in steps)]
        assert ranking.neighbour_index[0, :8].tolist() == [7, 6, 5, 4, 3, 2, 1, 0]


def test_scores_are_the_canonical_sum():
    """In plain Python, operation by operation: fused or reordered arithmetic gives other bits."""
    rng = np.random.default_rng(1)
    queries, exemplars = rng.standard_normal((5, 300)).astype(np.float32), rng.standard_normal((5, 300))

    def canonical(row):
        total = 0.0
        for value in row:
            total += value * value
        norm = math.sqrt(total)
        return [value / norm for value in row]

    ranking = rank(queries, np.arange(5), exemplars, np.arange(5), [(exemplars, None)], top_k=1)
    for q in range(5):
        a, b = canonical(queries[q].astype(float).tolist()), canonical(exemplars[q].tolist())
        total = 0.0
        for i in range(300):
            total += a[i] * b[i]
        assert ranking.scores[q] == total


@pytest.mark.parametrize("dimension", [1, 64, 512, 4096])
def test_the_filter_bounds_hold(dimension):
    """Also for a sum in index order of terms of one sign, where a product's rounding errors add up most."""
    rng = np.random.default_rng(dimension)
    bound, added, second = filter_bounds(dimension)
    for rows in (rng.standard_normal((40, dimension)), rng.random((40, dimension)) + 0.5):
        exact = unit(rows)
        low = exact.astype(np.float32)
        in_order = np.array([[np.cumsum(a * b)[-1] for a in low] for b in low])
        for product in (low @ low.T, in_order):
            assert product.dtype == np.float32
            assert np.abs(product - exact @ exact.T).max() <= bound + added
        assert np.abs(exact @ low.astype(np.float64).T - exact @ exact.T).max() <= second


def test_identical_database_images():
    image = np.ones((1, 16), np.float32)
    database = [(np.repeat(image, 3000, axis=0), None)] * 2
    ranking = rank(image, [4], np.concatenate([image, -image]), [4, 4], database, top_k=5, block_rows=1000)
    assert ranking.ranks.tolist() == [6001, 6002] and ranking.exemplar.tolist() == [0, 1]
    assert ranking.neighbour_index.tolist() == [[0, 1, 2, 3, 4]]


def test_a_merged_neighbour_tie_goes_to_the_earlier_row():
    image = np.ones((1, 8))
    first, second = (RankAccumulator(image, [0], image, [0], top_k=3) for _ in range(2))
    first.add(np.ones((2, 8)), None, 0)
    second.add(np.ones((4, 8)), None, 2)
    second.merge(first)
    assert second.finish().neighbour_index.tolist() == [[0, 1, 2]]


def test_a_neighbour_tie_goes_to_the_earlier_row_when_rows_come_late():
    image = np.ones((1, 8))
    accumulator = RankAccumulator(image, [0], image, [0], top_k=3)
    accumulator.add(np.ones((4, 8)), None, 2)
    accumulator.add(np.ones((2, 8)), None, 0)
    assert accumulator.finish().neighbour_index.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("scale", [1e-30, 1e30, 1e200])
def test_extreme_norms(scale):
    rng = np.random.default_rng(3)
    queries, exemplars, x = (rng.standard_normal((n, 24)) for n in (3, 3, 500))
    expected = rank(queries, [0, 1, 2], exemplars, [0, 1, 2], [(x, None)])
    found = rank(queries * max(scale, 1.0), [0, 1, 2], exemplars * max(scale, 1.0), [0, 1, 2], [(x, None)])
    assert found.ranks.tolist() == expected.ranks.tolist()
    shrunk = rank(queries, [0, 1, 2], exemplars, [0, 1, 2], [(x * scale, None)])
    # Rows far below the floor of 1e-12 have score 0, and so does a row of zeros.
    below = [1 + 500 * bool(score <= 1e-9) for score in expected.scores]
    assert shrunk.ranks.tolist() == (below if scale < 1 else expected.ranks.tolist())


def test_no_database_and_no_queries():
    none = np.zeros((0, 3), np.float32)
    ranking = rank(np.ones((1, 3)), [0], np.ones((2, 3)), [0, 0], [(none, np.zeros(0, bool))])
    assert ranking.ranks.tolist() == [1, 2] and ranking.n_database == 0 and (ranking.neighbour_index == -1).all()
    ranking = rank(none, [], none, [], [(np.ones((4, 3)), None)])
    assert ranking.offsets.tolist() == [0] and ranking.n_database == 4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_by_row(value):
    good, bad, valid = np.ones((5, 3)), np.ones((5, 3)), np.array([False, True, True, True, True])
    bad[3, 1] = value
    entry = np.zeros(5, int)
    with pytest.raises(InputError, match="queries: row 3"):
        rank(bad, entry, good, entry, [], query_valid=valid)
    with pytest.raises(InputError, match="exemplars: row 3"):
        rank(good, entry, bad, entry, [], exemplar_valid=valid)
    with pytest.raises(InputError, match="database: row 8"):
        rank(good, entry, good, entry, [(good, None), (bad, valid)], block_rows=2)
    valid[3] = False  # an invalid row may hold anything
    assert rank(good, entry, good, entry, [(good, None), (bad, valid)]).n_database_invalid == 2


def test_arrays_that_do_not_fit_are_refused():
    rows, entry = np.ones((5, 3)), np.zeros(5, int)
    for message, call in {
        "exemplars: expected 3 columns": lambda: rank(rows, entry, rows[:, :2], entry, []),
        "database: expected 3 columns": lambda: rank(rows, entry, rows, entry, [(rows[:, :2], None)]),
        "found int64": lambda: rank(rows.astype(int), entry, rows, entry, []),
        "query_entry: expected 5": lambda: rank(rows, entry[:4], rows, entry, []),
        "expected bool": lambda: rank(rows, entry, rows, entry, [(rows, entry)]),
        "block_rows": lambda: rank(rows, entry, rows, entry, [], block_rows=0),
    }.items():
        with pytest.raises(InputError, match=message):
            call()


def test_parts_that_overlap_miss_rows_or_differ_are_refused():
    rows, entry = np.ones((5, 3)), np.zeros(5, int)
    parts = [RankAccumulator(rows, entry, rows, entry) for _ in range(2)]
    parts[0].add(rows, None, 0)
    parts[1].add(rows, None, 4)
    with pytest.raises(InputError, match="row 4 was added to the ranking twice"):
        parts[0].merge(parts[1])
    with pytest.raises(InputError, match="rows 0 to 3 were never added"):
        parts[1].finish()
    with pytest.raises(InputError, match="same"):
        parts[0].merge(RankAccumulator(rows, entry, rows, entry, top_k=3))
    with pytest.raises(InputError, match="same"):
        parts[0].merge(RankAccumulator(2 * rows - np.eye(5, 3), entry, rows, entry))


@FEW
@given(cases(), st.data())
def test_every_database_size_is_a_ranking_of_its_own(case, data):
    """One pass gives, at each size, just what ranking the first images alone gives; in any pieces and order."""
    n = len(case["x"])
    sizes = sorted(data.draw(st.sets(st.integers(1, max(1, n)), max_size=4))) if n else []
    options = {"top_k": 3, "block_rows": data.draw(st.sampled_from([7, 8192]))}
    found = run(case, data.draw(st.sampled_from([1, 4])), sizes=sizes, **options)
    same(found, run(case, **options))
    for s, size in enumerate(sizes):
        part = {**case, "x": case["x"][:size], "x_valid": case["x_valid"][:size]}
        alone = run(part, **options)
        assert found.ranks_at[s].tolist() == alone.ranks.tolist()
        assert found.n_database_at[s] == alone.n_database


def test_a_size_beyond_the_database_is_refused():
    rows = np.ones((5, 3))
    with pytest.raises(InputError, match="database size 6 is asked for; expected at most 5"):
        rank(rows, np.zeros(5, int), rows, np.zeros(5, int), [(rows, None)], sizes=[2, 6])
    with pytest.raises(InputError, match="rising"):
        rank(rows, np.zeros(5, int), rows, np.zeros(5, int), [(rows, None)], sizes=[4, 2])


@FEW
@given(cases(), st.data())
def test_hard_negatives_are_ranked_as_database_rows_of_the_other_entries_queries(case, data):
    n, n_exemplars = len(case["x"]), len(case["exemplars"])
    sizes = [data.draw(st.integers(1, n))] if n else []
    found = run(case, hard_negatives=True, sizes=sizes, top_k=5)
    for entry in range(case["e_entry"].max(initial=-1) + 1):
        # For the queries of one entry, the database and the others' exemplars are one database.
        others = case["e_entry"] != entry
        own = case["q_entry"] == entry
        joined = {
            **case,
            "x": np.concatenate([case["x"], case["exemplars"]]),
            "x_valid": np.concatenate([case["x_valid"], case["e_valid"] & others]),
        }
        expected = run(joined, top_k=5)
        for q in np.flatnonzero(own):
            part = slice(found.offsets[q], found.offsets[q + 1])
            assert found.ranks[part].tolist() == expected.ranks[part].tolist()
            assert found.neighbour_index[q].tolist() == expected.neighbour_index[q].tolist()
        if sizes:
            joined["x_valid"] = joined["x_valid"] & (
                (np.arange(n + n_exemplars) < sizes[0]) | (np.arange(n + n_exemplars) >= n)
            )
            at_size = run(joined, top_k=0).ranks
            chosen = np.repeat(own, np.diff(found.offsets))
            assert found.ranks_at[0][chosen].tolist() == at_size[chosen].tolist()
    assert found.n_database == case["x_valid"].sum() and found.hard_negatives
