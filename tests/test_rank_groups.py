"""Groups of rows, near copies or on a grid: how they are found, and that no result shows them."""

import itertools

import numpy as np
import pytest
from attribench import rank_blocks, rank_choice, rank_grid, rank_groups, rank_kernels
from attribench.rank import rank
from rank_cases import FILTERS, HAS_BF16, check, check_as, force, look_for_groups, of_two_entries, run, unit


@pytest.mark.parametrize("use_filter", FILTERS)
@pytest.mark.parametrize("spread", [0.0, 1e-7, 1e-4, 0.02])
def test_near_copies_are_ranked_in_groups_as_well_as_one_by_one(use_filter, spread, monkeypatch):
    """Copies of exemplars, of one that is none, and rows apart, in blocks, with hard negatives and invalid rows."""
    rng = np.random.default_rng(0)
    queries, exemplars = unit(rng.standard_normal((6, 32))), unit(rng.standard_normal((12, 32)))
    centres = np.concatenate([exemplars, unit(rng.standard_normal((1, 32)))])
    copies = unit(centres[rng.integers(0, 13, 2000)] + spread * rng.standard_normal((2000, 32)) / np.sqrt(32))
    x = np.concatenate([copies, unit(rng.standard_normal((300, 32)))])[rng.permutation(2300)]
    case = of_two_entries(queries, exemplars, x, rng)
    options = {"use_filter": use_filter, "top_k": 7, "block_rows": 900, "block_queries": 4, "sizes": [500]}
    alone = [run(case, hard_negatives=hard, **options) for hard in (False, True)]
    check(case, alone[0], 7)

    found = []

    def grouped(units, pool=None):
        found.append(rank_groups.find_groups(units, pool))
        return found[-1]

    look_for_groups(monkeypatch)
    monkeypatch.setattr("attribench.rank.find_groups", grouped)
    check_as(alone, case, **options)
    sizes = [len(groups.centres) for _, groups in found if groups is not None]
    assert len(sizes) >= 4 and max(sizes) == 14  # all 13, and those apart


def test_groups_are_of_rows_near_each_other():
    rng = np.random.default_rng(0)
    centres, apart = unit(rng.standard_normal((5, 64))), unit(rng.standard_normal((40, 64)))
    units = np.concatenate([unit(centres[np.arange(500) % 5] + 1e-4 * rng.standard_normal((500, 64))), apart])
    order, groups = rank_groups.find_groups(units)
    assert sorted(order) == list(range(540)) and groups.starts[[0, 1, -1]].tolist() == [0, 40, 540]
    assert set(order[:40]) == set(range(500, 540)) and not groups.centres[0].any()
    block = rank_blocks.Block(units[order], groups=groups)
    assert block.longest[0] > 0.99 and block.longest[1:].max() < 2e-3
    for a, b in itertools.pairwise(groups.starts[1:]):
        assert len(set(order[a:b] % 5)) == 1
    for rows in (apart, apart[:0], np.concatenate([units[:10], apart])):
        assert rank_groups.find_groups(rows)[1] is None


def on_grid(rng, kind, n):
    """Rows [n, 48] of a kind, each a multiple of whole numbers."""
    rows = {
        "codes": lambda: rng.choice([-1.0, 1.0], (n, 48)),
        "codes with a zero here and there": lambda: rng.choice([-1.0, 1.0], (n, 48)) * (rng.random((n, 48)) > 1e-3),
        "zeros and ones": lambda: (rng.random((n, 48)) < 0.5).astype(float),
        "one each": lambda: np.eye(48)[rng.integers(0, 48, n)],
        "whole": lambda: rng.permuted(np.tile(np.arange(48) % 6 - 2.0, (n, 1)), axis=1),
    }[kind]()
    return (rows * 0.375).astype(np.float32)


@pytest.mark.parametrize("kind", ["codes", "codes with a zero here and there", "zeros and ones", "one each", "whole"])
@pytest.mark.parametrize("use", ["grid", "steps"])
def test_rows_on_a_grid_are_ranked_by_whole_numbers_as_well(kind, use, monkeypatch):
    """Blocks of them, one with a row off the grid, hard negatives and invalid rows; nearly all scores tie with others."""
    rng = np.random.default_rng(0)
    case = {"queries": on_grid(rng, kind, 40), "exemplars": on_grid(rng, kind, 90), "x": on_grid(rng, kind, 3000)}
    case["x"][2900, 3] += 0.01
    case |= {"q_entry": np.arange(40) % 3, "e_entry": np.arange(90) % 3}
    valid = {"q_valid": rng.random(40) < 0.9, "e_valid": np.ones(90, bool), "x_valid": rng.random(3000) < 0.9}
    case |= valid
    options = {"top_k": 7, "block_rows": 800, "block_queries": 16, "sizes": [500]}
    alone = [run(case, hard_negatives=hard, use_filter="float64", **options) for hard in (False, True)]
    check(case, alone[0], 7)

    monkeypatch.setattr(rank_groups, "_FEWEST_ON_GRID", 16)
    look_for_groups(monkeypatch)
    used = force(monkeypatch, use)
    check_as(alone, case, **options)
    assert used.count(use) > used.count("float64") > 0


def test_what_is_on_a_grid():
    rng = np.random.default_rng(0)
    for kind in ("codes", "zeros and ones", "whole"):
        units = canonical(on_grid(rng, kind, 500))
        steps = rank_groups.find_steps(units)
        whole = units / steps[:, None]
        assert np.abs(whole - np.rint(whole)).max() < 1e-14 and np.abs(whole).max() <= 3.0 + 1e-14
        order, groups = rank_groups.find_grid(units)
        if groups is not None:
            assert (steps[order] == np.repeat(groups.steps, np.diff(groups.starts))).all() and not groups.centres.any()
        assert (groups is None) == (kind == "zeros and ones")  # whose steps are many
        units[400, np.flatnonzero(units[400])[1]] *= 1 + 1e-14
        assert rank_groups.find_steps(units) is None and rank_groups.find_grid(units)[1] is None
    assert rank_groups.find_steps(np.zeros((2, 3))).tolist() == [1, 1]
    assert rank_groups.find_grid(np.zeros((0, 3)))[1] is None


@pytest.mark.parametrize("largest, expected", [(4000, True), (4200, False)])
def test_whole_numbers_that_float32_cannot_hold_are_left_alone(largest, expected):
    """Of two columns, the scores are up to largest^2: beyond 2^24 they would be rounded."""
    units = canonical(np.array([[largest, 1.0], [1.0, -largest], [largest, -1.0]]))
    block = rank_blocks.Block(units, groups=rank_groups.find_grid(np.repeat(units, 16, axis=0))[1])
    kind = rank_grid.GridFilter(2)
    assert kind.fits(rank_blocks.Queries(units), block) == expected
    assert not kind.fits(rank_blocks.Queries(units), rank_blocks.Block(units))
    assert not kind.fits(rank_blocks.Queries(unit(np.array([[0.3, 0.4123]]))), block)


@pytest.mark.parametrize("dimension, n", [(1, 1), (48, 1), (300, 129), (700, 1000)])
def test_whole_numbers_times_both_steps_are_the_scores(dimension, n):
    """Of rows with steps of their own, and one that is all 0."""
    rng = np.random.default_rng(n)
    rows = [rng.integers(-3, 4, (count, dimension)) * rng.uniform(0.1, 9, (count, 1)) for count in (7, n)]
    rows[0][3] = 0
    queries, block = rank_blocks.Queries(canonical(rows[0])), rank_blocks.Block(canonical(rows[1]))
    kind = rank_grid.StepsFilter(dimension)
    assert kind.fits(queries, block)
    for part in (slice(0, 7), slice(3, 4), slice(5, 7)):
        operand = queries.rows(kind).part(part)
        whole = np.full((part.stop - part.start, n), np.nan, kind.dtype)
        kind.product(operand, block.rows(kind), whole)
        scores = whole.astype(np.float64) * kind.steps(block) * kind.scale(operand, block)
        exact = np.array([[rank_kernels.dot(q, x) for x in block.units] for q in queries.units[part]])
        assert (np.abs(scores - exact) <= kind.bound(operand, block)).all() and kind.bound(operand, block).max() < 1e-11


@pytest.mark.parametrize("what", ["queries on no grid", "multiples too large"])
def test_a_grid_that_does_not_help_hides_no_near_copies(what, monkeypatch):
    """Then nothing but the groups of copies makes them cheap."""
    rng = np.random.default_rng(0)
    largest = 1 if what == "queries on no grid" else 5000
    few = rng.integers(1, largest + 1, (5, 48)) * rng.choice([-1.0, 1.0], (5, 48))
    few[:, 0] = 1  # which makes them multiples of it
    queries = few[[0, 1]] if largest > 1 else rng.standard_normal((2, 48))
    case = {"queries": queries, "q_entry": np.zeros(2), "exemplars": few, "e_entry": np.zeros(5)}
    case |= {"x": few[rng.integers(0, 5, 800)], "q_valid": np.ones(2, bool), "e_valid": np.ones(5, bool)}
    case |= {"x_valid": np.ones(800, bool)}
    monkeypatch.setattr(rank_groups, "_FEWEST_ON_GRID", 16)
    assert rank_groups.find_grid(canonical(case["x"]))[1] is not None
    blocks = []

    def block(*given, **options):
        blocks.append(rank_blocks.Block(*given, **options))
        return blocks[-1]

    look_for_groups(monkeypatch)
    monkeypatch.setattr("attribench.rank.Block", block)
    check(case, run(case, top_k=3), 3)
    assert [len(made.centres) for made in blocks] == [5] and blocks[0].is_centred


def canonical(rows):
    units = rows.astype(np.float64)
    assert rank_kernels.normalize(units) == -1
    return units


@pytest.mark.skipif(not HAS_BF16, reason="no bfloat16 products here")
def test_groups_are_looked_for_where_much_is_in_doubt(monkeypatch):
    rng = np.random.default_rng(0)
    queries, exemplars = unit(rng.standard_normal((300, 64))), unit(rng.standard_normal((4, 64)))
    copies = unit(exemplars[np.arange(4000) % 4] + 1e-7 * rng.standard_normal((4000, 64)))
    looked = []

    def look(units, pool=None):
        looked.append(rank_groups.find_groups(units, pool))
        return looked[-1]

    monkeypatch.setattr("attribench.rank.find_groups", look)
    monkeypatch.setattr(rank_choice, "PATIENCE", -1)
    for rows, expected in ((unit(rng.standard_normal((4000, 64))), 0), (copies, 3)):
        rank(queries, np.zeros(300), exemplars, np.zeros(4), [(rows, None)], block_rows=1000, top_k=0)
        assert len(looked) == expected and all(groups is not None for _, groups in looked)


@pytest.mark.parametrize("kind, expected", [("codes", True), ("zeros and ones", False)])
def test_groups_of_one_step_are_looked_for_where_rows_share_it(kind, expected):
    rng = np.random.default_rng(0)
    queries, block = (
        rank_blocks.Queries(canonical(on_grid(rng, kind, 8))),
        rank_blocks.Block(canonical(on_grid(rng, kind, 2000))),
    )
    choice, steps = rank_choice.Choice(48), rank_grid.StepsFilter(48)
    choice.seconds = {"float32": 1.0, "steps": 1.0, "full": 0.0}
    operand, shift = queries.rows(steps), np.zeros((8, 1))
    offer = rank_choice.Offer(steps, operand, steps.bound(operand, block), shift, steps.margins(queries, block))
    assert choice.pick([offer], queries.units, block, (np.arange(9), np.zeros(8))) == 0
    assert choice.is_hard == expected
