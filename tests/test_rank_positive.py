"""Rows without a value below 0: the bound that shrinks with the score, and that no result shows it."""

import numpy as np
import pytest
from attribench import rank_blocks, rank_positive
from attribench.rank import rank
from rank_cases import check, check_as, force, run, unit, watch


def sparse(rng, n, dimension, values=12, common=0.0):
    """Rows [n, d] with at most so many values that are not 0, of many magnitudes; and `common` in the first column."""
    rows = np.zeros((n, dimension))
    columns = rng.integers(1, dimension, (n, values))
    np.put_along_axis(rows, columns, np.exp(3 * rng.standard_normal((n, values))), axis=1)
    rows[:, 0] = common * np.linalg.norm(rows, axis=1)
    return rows


def fitting(queries, x):
    """The rows as the filter takes them, and that filter."""
    queries, block = rank_blocks.Queries(unit(queries)), rank_blocks.Block(unit(x))
    return queries, block, rank_positive.PositiveFilter(queries.units.shape[1])


@pytest.mark.parametrize("common", [0.0, 1.0])
@pytest.mark.parametrize("dimension", [64, 300, 770, 4096])
def test_the_bound_holds_and_is_0_where_rows_share_nothing(dimension, common):
    rng = np.random.default_rng(dimension)
    queries, block, kind = fitting(*(sparse(rng, n, dimension, common=common) for n in (60, 200)))
    assert kind.fits(queries, block) and block.is_centred == (common > 0)
    scores = np.empty((60, 200), np.float32)
    kind.product(queries.rows(kind), block.rows(kind), scores)
    exact = np.array([(block.units * query).sum(axis=1) for query in queries.units])
    bound = kind.bound(queries.rows(kind), block)
    assert bound.max() < 1e-10 and kind.relative < 5e-4
    assert (np.abs(scores - exact) <= kind.relative * exact + bound).all()
    if not common:
        shared = (queries.units > 0).astype(int) @ (block.units > 0).T > 0
        assert not scores[~shared].any() and (~shared).any() and shared.any()


def test_the_bound_is_no_more_than_about_twice_what_a_sum_in_order_loses():
    """A large term, and small ones that each vanish beside it: nearly half a unit in the last place, 255 times."""
    row = np.full((1, 256), np.sqrt(2.0**-25 * 0.999))
    row[0, 0] = 1
    queries, block, kind = fitting(row, row)
    total = np.float32(0)
    for term in queries.rows(kind).data[0] * block.rows(kind).data[0]:
        total += term
    assert 0.4 * kind.relative < 1 - float(total) <= kind.relative


def case_of(rng, common=0.0, below=False):
    """Copies of exemplars that are a hair nearer or farther, among rows most of which share nothing with a query."""
    queries, exemplars = sparse(rng, 30, 200, common=common), sparse(rng, 40, 200, common=common)
    exemplars[::2] += queries[rng.integers(0, 30, 20)]  # some with scores well above 0
    hair = rng.choice([0.0, 1e-10, -1e-10, 1e-8, -1e-8, 1e-6], (600, 1))
    copies = exemplars[rng.integers(0, 40, 600)]
    copies = copies * (1 + hair * rng.random((600, 200)))
    x = np.concatenate([copies, sparse(rng, 1400, 200, common=common)])[rng.permutation(2000)]
    if below:
        x[1700, np.flatnonzero(x[1700])[0]] *= -1
    case = {"queries": queries, "exemplars": exemplars, "x": x, "q_entry": np.arange(30) % 3}
    case |= {"e_entry": np.arange(40) % 3, "q_valid": rng.random(30) < 0.9, "e_valid": np.ones(40, bool)}
    return case | {"x_valid": rng.random(2000) < 0.9}


@pytest.mark.parametrize("common, below", [(0.0, False), (1.0, False), (0.0, True)])
def test_ranks_are_those_of_a_sort(common, below, monkeypatch):
    """Forced, in blocks, with hard negatives and invalid rows; a block with a value below 0 goes to another filter."""
    case = case_of(np.random.default_rng(0), common, below)
    options = {"top_k": 7, "block_rows": 700, "block_queries": 16, "sizes": [500]}
    alone = [run(case, hard_negatives=hard, use_filter="float64", **options) for hard in (False, True)]
    check(case, alone[0], 7)
    used = force(monkeypatch, "positive")
    check_as(alone, case, **options)
    assert used.count("positive") > 4 and ("float64" in used) == below


def test_it_is_chosen_for_probabilities_and_for_no_others(monkeypatch):
    rng = np.random.default_rng(0)
    chosen = watch(monkeypatch)
    made = {"probabilities": lambda n: np.exp(4 * rng.standard_normal((n, 512)))}
    made["dense"] = lambda n: rng.random((n, 512)) + 0.1
    made["of both signs"] = lambda n: rng.standard_normal((n, 512))
    for name, rows in made.items():
        chosen.clear()
        rank(rows(300), np.zeros(300), rows(40), np.zeros(40), [(rows(3000), None)], top_k=3)
        is_chosen = chosen.count("positive") > len(chosen) / 2
        assert is_chosen if name == "probabilities" else "positive" not in chosen


def test_what_fits():
    rng = np.random.default_rng(0)
    queries, block, kind = fitting(sparse(rng, 40, 64), sparse(rng, 40, 64))
    assert kind.fits(queries, block)
    rows = sparse(rng, 40, 64)
    for below in (-rows, np.concatenate([rows[:39], -rows[39:]])):
        others = rank_blocks.Queries(unit(below)), rank_blocks.Block(unit(below))
        assert not kind.fits(others[0], block) and not kind.fits(queries, others[1])
    kind.relative = 0.01
    assert not kind.fits(queries, block)
