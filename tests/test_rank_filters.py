"""The filters of the ranking: their bounds, the choice between them, and that no result shows which one was used."""

import itertools

import numpy as np
import pytest
from attribench import rank_blocks, rank_choice, rank_filters, rank_grid, rank_groups, rank_kernels
from attribench.rank import rank
from hypothesis import given
from hypothesis import strategies as st
from rank_cases import CHOICES, FEW, FILTERS, HAS_BF16, check, close_case, run, same, unit


@pytest.mark.parametrize("dimension", [2, 64, 512])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("use_filter", FILTERS)
def test_the_tolerance_is_seen_where_float32_sees_nothing(dimension, threads, use_filter):
    rng = np.random.default_rng(dimension)
    queries, exemplars = unit(rng.standard_normal((8, dimension))), unit(rng.standard_normal((8, dimension)))
    steps = [-1e-8, -2e-9, -1.1e-9, -9e-10, -1e-10, 0.0, 1e-10, 1e-8]
    for q, e in zip(queries, exemplars, strict=True):
        toward = q - (q @ e) * e
        x = e + np.array(steps)[:, None] * toward / (toward @ q)  # cosine with q: that of e plus the step
        ranking = rank(q[None], [0], e[None], [0], [(x, None)], threads=threads, use_filter=use_filter)
        assert ranking.ranks.tolist() == [1 + sum(step >= -1e-9 for step in steps)]
        assert ranking.neighbour_index[0, :8].tolist() == [7, 6, 5, 4, 3, 2, 1, 0]


@FEW
@given(st.integers(0, 2**32 - 1), st.sampled_from([16, 300]), st.sampled_from([1, 12, 67]), st.data())
def test_every_filter_gives_the_same_bytes_where_scores_are_closest(seed, dimension, n_exemplars, data):
    case, known = close_case(seed, dimension, n_exemplars, data)
    rankings = [run(case, use_filter=name, top_k=5, block_rows=700) for name in CHOICES]
    check(known, rankings[0], 5)
    for ranking in rankings[1:]:
        same(rankings[0], ranking)


def spread(rng, dimension):
    """Rows [40, d] in all directions, with terms of one sign, and close together: about 1, 0.3 and 0.001 from their mean."""
    for made in (rng.standard_normal((40, dimension)), rng.random((40, dimension)) + 0.5):
        yield unit(made)
    yield unit(np.ones(dimension) + 1e-3 * rng.standard_normal((40, dimension)))


@pytest.mark.parametrize("dimension", [1, 64, 512, 770, 4096])
@pytest.mark.parametrize("use_filter", FILTERS)
def test_the_filter_bounds_hold(dimension, use_filter):
    """Also for terms of one sign, where a product's rounding errors add up most, and for rows less their centre."""
    rng = np.random.default_rng(dimension)
    kind = rank_filters.FILTERS[use_filter](dimension)
    allowed = {"float32": 1e-3, "bf16": 0.02, "float64": 1e-11}[use_filter]
    lengths = (1.0, 0.7, 0.01)
    for (units_q, short), (units, length) in itertools.product(
        zip(spread(rng, dimension), lengths, strict=True), list(zip(spread(rng, dimension), lengths, strict=True))
    ):
        queries, block = rank_blocks.Queries(units_q), rank_blocks.Block(units)
        tile, tilt = np.empty((40, 40), kind.dtype), queries.tilt(block)
        kind.product(queries.rows(kind), block.rows(kind), tile, tilt)
        scores = (tile.astype(np.uint32) << 16).view(np.float32) if tile.dtype == np.uint16 else tile
        shift = block.shift(queries.units) * kind.is_centred
        exact = queries.units @ units.T - shift
        bound = kind.bound(queries.rows(kind), block)
        assert (np.abs(scores - exact) <= bound + kind.relative * (np.abs(exact) + bound)).all()
        if dimension > 1:
            expected = length if use_filter == "bf16" else length * max(short, 0.02)
            assert bound.max() < allowed * expected + 1e-11
        low = (
            queries.rows32.astype(np.float64) @ block.rows32.T.astype(np.float64)
            + tilt
            + queries.units @ block.centres.T
        )
        assert (
            np.abs(low - queries.units @ units.T).max()
            <= rank_filters.Float32Filter(dimension).margins(queries, block)[1]
        )


def test_bf16_is_trusted_wherever_the_processor_has_it():
    """Else all that is tried of it would be left out, and nobody would know."""
    assert HAS_BF16 == rank_filters.has_bf16_products()


def test_rows_are_centred_where_that_brings_them_nearer():
    rng = np.random.default_rng(0)
    apart, beside, close = spread(rng, 64)
    assert [rank_blocks.Block(units).is_centred for units in (apart, beside, close)] == [False, True, True]
    assert rank_blocks.Block(close).longest < 0.02
    opposite = np.concatenate([close, -close[:1]])  # one row would be longer than before
    assert not rank_blocks.Block(opposite).is_centred and rank_blocks.Block(opposite).longest > 1
    assert rank_blocks.Block(close[:1]).longest == [0]  # its own centre
    assert rank_blocks.Block(close[:0]).longest == [0]


IN_ORDER = pytest.mark.skipif(not rank_filters.adds_in_order(256), reason="BLAS adds in another order here")


@IN_ORDER
@pytest.mark.parametrize("dimension", [2, 300, 768])
def test_the_bound_of_a_product_in_order_holds_and_is_half_of_the_other(dimension):
    """For terms of one sign, and where all are in the first columns, which are in most of the sums."""
    rng, kind, n = np.random.default_rng(dimension), rank_filters.Float32Filter(dimension), 1500
    for columns, centred, n_groups in itertools.product((dimension, 2, 1), (False, True), (1, 3)):
        made = np.zeros((n, dimension))
        made[:, :columns] = rng.random((n, columns)) + 0.5
        units, groups = unit(made), None
        if n_groups > 1:
            groups = rank_groups.Groups(np.array([0, 10, 700, n]), units[:3])
        queries, block = (
            rank_blocks.Queries(units[: n // 2], centred=centred),
            rank_blocks.Block(units, centred=centred, groups=groups),
        )
        tile = np.empty((n // 2, n), np.float32)
        kind.product(queries.rows(kind), block.rows(kind), tile, queries.tilt(block))
        bound = kind.bound(queries.rows(kind), block)[:, block.group]
        exact = queries.units @ block.units.T - block.shift(queries.units)[:, block.group]
        assert (np.abs(tile - exact) <= bound).all()
        few = kind.bound(queries.rows(kind).part(slice(15)), block)
        if dimension == columns == 768 and not centred and n_groups == 1:
            assert 0.6 > bound.max() / few.max() > 0.4


@IN_ORDER
def test_how_often_a_term_is_rounded():
    """Twice as an input, once as a product, in the sums after it of its part, and in those of parts."""
    roundings = rank_filters.Float32Filter(600)._roundings
    for column, expected in (
        (0, 256 + 3 + 3),
        (255, 1 + 3 + 3),
        (256, 256 + 2 + 3),
        (512, 88 + 1 + 3),
        (599, 1 + 1 + 3),
    ):
        assert roundings[column] == expected


@pytest.mark.parametrize("dimension", [64, 300])
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_close_scores_of_many_queries_are_told_apart(dimension, offset):
    """So many that the bound of a product in order is used, with scores about as close to the exemplars' as it is wide."""
    rng = np.random.default_rng(dimension)
    queries = unit(rng.standard_normal((64, dimension)) / np.sqrt(dimension) + offset)
    exemplars = unit(rng.standard_normal((8, dimension)) / np.sqrt(dimension) + offset)
    near = exemplars[rng.integers(0, 8, 2000)] + 10.0 ** rng.uniform(-10, -5, (2000, 1)) * rng.standard_normal(
        (2000, dimension)
    )
    case = {
        "queries": queries,
        "q_entry": np.zeros(64),
        "exemplars": exemplars,
        "e_entry": np.zeros(8),
        "x": unit(near),
    }
    case |= {f"{name}_valid": np.ones(n, bool) for name, n in (("q", 64), ("e", 8), ("x", 2000))}
    ranking = run(case, use_filter="float32", top_k=3)
    check(case, ranking, 3)
    same(ranking, run(case, use_filter="float64", top_k=3))


@IN_ORDER
@pytest.mark.parametrize("place", [0, 100, 255, 256, 400])
def test_the_bound_of_a_product_in_order_is_needed(place):
    """Each term after the large one takes the sum up by 0.6 units in the last place, and rounding makes it a whole one."""
    rows = np.full((1000, 512), np.sqrt(0.6 * 2.0**-24))
    rows[:, place] = 0.75
    kind, queries, block = (
        rank_filters.Float32Filter(512),
        rank_blocks.Queries(rows, centred=False),
        rank_blocks.Block(rows, centred=False),
    )
    tile = np.empty((1000, 1000), np.float32)
    kind.product(queries.rows(kind), block.rows(kind), tile)
    error, bound = (tile - rows @ rows.T).max(), kind.bound(queries.rows(kind), block)[0, 0]
    after = 255 - place % 256
    assert 0.39 * after * 2.0**-24 < error <= bound < 0.57 * (after + 8) * 2.0**-24


def test_a_library_that_adds_in_another_order_is_seen(monkeypatch):
    """By halves, as with two registers for a sum; backwards; and one that is right for all terms but the last two."""
    adds = rank_filters.adds_in_order.__wrapped__

    def product(order):
        def add(q, x, beta, out):
            total = np.zeros(out.shape, np.float32)
            for columns in order(q.shape[1]):
                part = np.zeros(out.shape, np.float32)
                for j in columns:
                    part += q[:, j, None] * x[None, :, j]
                total += part
            out[:] = total

        return add

    orders = {
        lambda k: [range(k)]: True,
        lambda k: [range(k // 2), range(k // 2, k)]: False,
        lambda k: [range(k - 1, -1, -1)]: False,
        lambda k: [range(k - 2), range(k - 2, k)]: False,
    }
    monkeypatch.setattr(rank_filters, "_USUAL_PRODUCT", 0)
    for order, expected in orders.items():
        monkeypatch.setattr(rank_filters, "_add_product", product(order))
        assert adds(6) == expected


@pytest.mark.parametrize("dimension", [1, 64, 512, 4096])
def test_the_bounds_of_the_dot_products_hold(dimension):
    rng = np.random.default_rng(dimension)
    coarse, eights, quick = rank_filters.dot_bounds(dimension)
    for made in (rng.standard_normal((40, dimension)), rng.random((40, dimension)) + 0.5):
        exact = unit(made)
        low = exact.astype(np.float32)
        in_order = np.array([[np.cumsum(a * b)[-1] for a in low] for b in low])
        compiled = np.array([[rank_kernels.coarse_dot(a, b) for a in low] for b in low])
        for product in (low @ low.T, in_order, compiled):
            assert np.abs(product - exact @ exact.T).max() <= coarse
        compiled = np.array([[rank_kernels.eights_dot(a, b) for a in low] for b in low])
        assert np.abs(compiled - exact @ exact.T).max() <= eights < 1e-6
        compiled = np.array([[rank_kernels.quick_dot(a, b) for a in low] for b in low])
        for product in (low.astype(np.float64) @ low.astype(np.float64).T, compiled):
            assert np.abs(product - exact @ exact.T).max() <= quick


@pytest.mark.skipif(not HAS_BF16, reason="no bfloat16 products here")
def test_a_tile_gets_the_filter_that_is_cheapest_for_its_thresholds(monkeypatch):
    """bf16 where few pairs are in doubt, float32 where many are; tried only after a while, and never seen in a result."""
    rng = np.random.default_rng(0)
    queries, x = unit(rng.standard_normal((8, 64))), unit(rng.standard_normal((3000, 64)))
    choice, block = rank_choice.Choice(64), rank_blocks.Block(x)
    assert [kind.name for kind in choice.filters()] == ["float32"]
    choice.note(60)
    filters = choice.filters()
    assert [kind.name for kind in filters] == ["float32", "bf16", "float64", "grid"] and min(
        choice.seconds.values()
    ) > 0
    choice.seconds = {"float32": 11e-9, "bf16": 5e-9, "float64": 22e-9, "pair": 80e-9}
    as_queries = rank_blocks.Queries(queries)
    filters = [kind for kind in filters if kind.fits(as_queries, block)]
    assert len(filters) == 3
    bounds = [kind.bound(as_queries.rows(kind), block) for kind in filters]
    shifts = [block.shift(queries) * kind.is_centred for kind in filters]
    everywhere = np.sort(queries @ x.T, axis=1)[:, ::-1] - 1e-9  # as thresholds of equal exemplars
    well, deep = np.tile(np.linspace(0.9, 0.8, 12), (8, 1)), np.tile(np.linspace(0.3, -0.3, 67), (8, 1))
    for thresholds, expected in ((well, 1), (deep, 0), (everywhere, 2)):
        pairs = (np.arange(9) * thresholds.shape[1], thresholds.ravel())
        assert choice.pick(filters, bounds, shifts, queries, block, pairs) == expected

    case = {"queries": queries, "q_entry": np.arange(8), "exemplars": x[:8], "e_entry": np.arange(8), "x": x}
    case |= {f"{name}_valid": np.ones(n, bool) for name, n in (("q", 8), ("e", 8), ("x", 3000))}
    monkeypatch.setattr(rank_choice, "PATIENCE", -1)
    same(run(case), run(case, use_filter="float32"))


@pytest.mark.parametrize("use_filter", FILTERS)
def test_more_pairs_in_doubt_than_can_wait(use_filter):
    """Forty queries, to each of which every database row is a tie of one of two exemplars."""
    rng = np.random.default_rng(0)
    exemplars = unit(rng.standard_normal((2, 64)))
    queries, x = unit(rng.standard_normal((40, 64))), exemplars[rng.permutation(np.arange(900) % 3 // 2)]
    ranking = rank(queries, np.zeros(40), exemplars, [0, 0], [(x, None)], top_k=1, use_filter=use_filter)
    first_is_better = queries @ exemplars[0] > queries @ exemplars[1]
    expected = [[601, 902] if first else [301, 902] for first in first_is_better]
    assert ranking.ranks.reshape(40, 2).tolist() == expected


@pytest.mark.parametrize("use_filter", FILTERS)
@pytest.mark.parametrize("spread", [0.0, 1e-7, 1e-4, 0.02])
def test_near_copies_are_ranked_in_groups_as_well_as_one_by_one(use_filter, spread, monkeypatch):
    """Copies of exemplars, of one that is none, and rows apart, in blocks, with hard negatives and invalid rows."""
    rng = np.random.default_rng(0)
    queries, exemplars = unit(rng.standard_normal((6, 32))), unit(rng.standard_normal((12, 32)))
    centres = np.concatenate([exemplars, unit(rng.standard_normal((1, 32)))])
    copies = unit(centres[rng.integers(0, 13, 2000)] + spread * rng.standard_normal((2000, 32)) / np.sqrt(32))
    x = np.concatenate([copies, unit(rng.standard_normal((300, 32)))])[rng.permutation(2300)]
    case = {
        "queries": queries,
        "q_entry": np.arange(6) % 2,
        "exemplars": exemplars,
        "e_entry": np.arange(12) % 2,
        "x": x,
    }
    case |= {f"{name}_valid": np.ones(n, bool) for name, n in (("q", 6), ("e", 12))} | {
        "x_valid": rng.random(2300) < 0.9
    }
    options = {"use_filter": use_filter, "top_k": 7, "block_rows": 900, "block_queries": 4, "sizes": [500]}
    alone = [run(case, hard_negatives=hard, **options) for hard in (False, True)]
    check(case, alone[0], 7)

    found = []

    def grouped(units, pool=None):
        found.append(rank_groups.find_groups(units, pool))
        return found[-1]

    monkeypatch.setattr(
        rank_choice.Choice, "is_hard", property(lambda self: True, lambda self, value: None), raising=False
    )
    monkeypatch.setattr("attribench.rank.find_groups", grouped)
    for hard in (False, True):
        ranking = run(case, hard_negatives=hard, **options)
        same(alone[hard], ranking)
        np.testing.assert_array_equal(alone[hard].ranks_at, ranking.ranks_at)
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
def test_rows_on_a_grid_are_ranked_by_whole_numbers_as_well(kind, monkeypatch):
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

    used = []
    monkeypatch.setattr(rank_groups, "_FEWEST_ON_GRID", 16)

    def pick(self, filters, *_):
        used.append(filters[-1].name)
        return len(filters) - 1

    hard_always = property(lambda self: True, lambda self, value: None)
    monkeypatch.setattr(rank_choice.Choice, "is_hard", hard_always, raising=False)
    monkeypatch.setattr(rank_choice.Choice, "pick", pick)
    monkeypatch.setattr(rank_choice, "PATIENCE", -1)
    for hard in (False, True):
        ranking = run(case, hard_negatives=hard, **options)
        same(alone[hard], ranking)
        np.testing.assert_array_equal(alone[hard].ranks_at, ranking.ranks_at)
    assert used.count("grid") > used.count("float64") > 0


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

    monkeypatch.setattr(rank_choice.Choice, "is_hard", property(lambda _: True, lambda _, value: None), raising=False)
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
