"""Ranks against a float64 brute force, on random and on adversarial rows, however the work is cut up."""

import math

import numpy as np
import pytest
from attribench.common.errors import InputError
from helpers.rank_cases import CHOICES, FEW, cases, check, rank, run, same
from hypothesis import given
from hypothesis import strategies as st


@FEW
@given(cases(), st.sampled_from([0, 1, 3, 10]), st.sampled_from(CHOICES))
def test_ranks_are_those_of_a_sort(case, top_k, products):
    check(case, run(case, top_k=top_k, block_rows=300, products=products), top_k)


@FEW
@given(cases(), st.randoms(use_true_random=False))
def test_cutting_the_work_changes_no_bit(case, random):
    expected = run(case)
    options = {"block_rows": random.choice([1, 7, 256, 9000]), "products": random.choice(CHOICES)}
    same(expected, run(case, pieces=random.randint(1, 6), threads=random.randint(1, 3), **options))


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


def test_identical_database_images():
    image = np.ones((1, 16), np.float32)
    database = [(np.repeat(image, 3000, axis=0), None)] * 2
    ranking = rank(image, [4], np.concatenate([image, -image]), [4, 4], database, top_k=5, block_rows=1000)
    assert ranking.ranks.tolist() == [6001, 6002] and ranking.exemplar.tolist() == [0, 1]
    assert ranking.neighbour_index.tolist() == [[0, 1, 2, 3, 4]]


def test_exemplars_with_equal_scores_are_sorted_by_their_row():
    image = np.ones((1, 16), np.float32)
    ranking = rank(image, [4], np.concatenate([-image, image, image]), [4, 4, 4], [(-image, None)])
    assert ranking.exemplar.tolist() == [1, 2, 0]
    assert ranking.ranks.tolist() == [1, 2, 4]


@pytest.mark.parametrize("scale", [1e-30, 1e30, 1e150])
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


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e155])
def test_a_value_that_is_not_finite_or_too_large_is_refused_by_row(value):
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


def test_another_dimension_is_refused():
    rows, entry = np.ones((5, 3)), np.zeros(5, int)
    for message, call in {
        "exemplars: expected 3 columns": lambda: rank(rows, entry, rows[:, :2], entry, []),
        "database: expected 3 columns": lambda: rank(rows, entry, rows, entry, [(rows[:, :2], None)]),
    }.items():
        with pytest.raises(InputError, match=message):
            call()


@FEW
@given(cases(), st.data())
def test_every_database_size_is_a_ranking_of_its_own(case, data):
    """One pass gives, at each size, just what ranking the first images alone gives; in any pieces."""
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
    with pytest.raises(InputError, match="database_sizes has 6; expected at most 5"):
        rank(rows, np.zeros(5, int), rows, np.zeros(5, int), [(rows, None)], sizes=[2, 6])


@FEW
@given(cases(), st.data())
def test_hard_negatives_are_ranked_as_database_rows_of_the_other_entries_queries(case, data):
    n, n_exemplars = len(case["x"]), len(case["exemplars"])
    sizes = [data.draw(st.integers(1, n))] if n else []
    found = run(case, hard_negatives=True, sizes=sizes, top_k=5, products=data.draw(st.sampled_from(CHOICES)))
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
