"""Sparse queries: the product without the terms of 0 is the canonical score, bit for bit; and no result shows it."""

import numpy as np
import pytest
from attribench import rank_blocks, rank_sparse
from attribench.rank import rank
from attribench.rank_kernels import dot
from rank_cases import check, check_as, force, run, unit, watch


def sparse(rng, n, dimension, share=0.06):
    """Rows [n, d] of both signs and many magnitudes, most of whose values are 0."""
    rows = np.exp(3 * rng.standard_normal((n, dimension))) * rng.choice([-1, 1], (n, dimension))
    return rows * (rng.random((n, dimension)) < share)


@pytest.mark.parametrize("n", [1, 127, 128, 129, 700, 4100])
@pytest.mark.parametrize("dimension", [1, 3, 64, 300])
def test_its_scores_are_the_canonical_ones(dimension, n):
    """Of sparse queries and of queries without a 0, and of one that is all 0, in parts."""
    rng = np.random.default_rng(n)
    rows = np.concatenate([sparse(rng, 20, dimension), np.zeros((1, dimension)), rng.standard_normal((5, dimension))])
    queries, block = rank_blocks.Queries(unit(rows)), rank_blocks.Block(unit(rng.standard_normal((n, dimension))))
    kind = rank_sparse.SparseFilter(dimension)
    expected = np.array([[dot(q, x) for x in block.units] for q in queries.units])
    for part in (slice(0, 26), slice(3, 21), slice(20, 21), slice(25, 26)):
        operand = queries.rows(kind).part(part)
        scores = np.full((part.stop - part.start, n), np.nan)
        kind.product(operand, block.rows(kind), scores)
        assert (scores == expected[part]).all()
        assert operand.length.tolist() == np.count_nonzero(rows[part], axis=1).tolist()
        assert not kind.bound(operand, block).any()


def case_of(rng):
    """Copies of exemplars that are a hair nearer or farther, among rows most of which share nothing with a query."""
    queries, exemplars = sparse(rng, 30, 200), sparse(rng, 40, 200)
    exemplars[::2] += queries[rng.integers(0, 30, 20)]  # some with scores well above 0
    hair = rng.choice([0.0, 1e-10, -1e-10, 1e-8, -1e-8, 1e-6], (600, 1))
    copies = exemplars[rng.integers(0, 40, 600)]
    copies = copies * (1 + hair * rng.random((600, 200)))
    x = np.concatenate([copies, sparse(rng, 1400, 200)])[rng.permutation(2000)]
    case = {"queries": queries, "exemplars": exemplars, "x": x, "q_entry": np.arange(30) % 3}
    case |= {"e_entry": np.arange(40) % 3, "q_valid": rng.random(30) < 0.9, "e_valid": np.ones(40, bool)}
    return case | {"x_valid": rng.random(2000) < 0.9}


def test_ranks_are_those_of_a_sort(monkeypatch):
    """Forced, in blocks, with hard negatives and invalid rows."""
    case = case_of(np.random.default_rng(0))
    options = {"top_k": 7, "block_rows": 700, "block_queries": 16, "sizes": [500]}
    alone = [run(case, hard_negatives=hard, use_filter="float64", **options) for hard in (False, True)]
    check(case, alone[0], 7)
    used = force(monkeypatch, "sparse")
    check_as(alone, case, **options)
    assert len(used) > 4 and set(used) == {"sparse"}


def test_it_is_chosen_for_sparse_queries_and_for_no_others(monkeypatch):
    rng = np.random.default_rng(0)
    chosen = watch(monkeypatch)
    for share, is_expected in ((0.02, True), (0.5, False)):
        chosen.clear()
        queries, exemplars, x = (sparse(rng, n, 512, share) for n in (300, 40, 3000))
        rank(queries, np.zeros(300), exemplars, np.zeros(40), [(x, None)], top_k=3)
        assert chosen and all((name == "sparse") == is_expected for name in chosen)


def test_what_fits():
    """A mean of one value in five, whatever the rows are like."""
    kind, block = rank_sparse.SparseFilter(10), rank_blocks.Block(unit(np.ones((4, 10))))
    for values, expected in ((2, True), (3, False)):
        queries = np.zeros((3, 10))
        queries[:, :values] = 1
        assert kind.fits(rank_blocks.Queries(unit(queries)), block) == expected


def test_the_terms_of_dense_queries_are_never_listed():
    """They would take four times the memory of the queries."""
    rng = np.random.default_rng(0)
    dense = rank_blocks.Queries(unit(rng.standard_normal((40, 48))))
    kind = rank_sparse.SparseFilter(48)
    assert not kind.fits(dense, dense) and not dense._rows
    thin = rank_blocks.Queries(unit(np.eye(48)[rng.integers(0, 48, 40)]))
    assert kind.fits(thin, thin) and thin.n_terms == 40
