"""The filters of the ranking: their bounds, the choice between them, and that no result shows which one was used."""

import itertools
import math

import numpy as np
import pytest
from attribench import rank_blocks, rank_choice, rank_filters, rank_groups, rank_kernels
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
            <= rank_filters.Float32Filter(dimension).margins(queries, block)[2]
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


@pytest.mark.parametrize("dimension", [1, 64, 300, 512, 4096])
def test_the_bounds_of_the_dot_products_hold(dimension):
    rng = np.random.default_rng(dimension)
    coarse, fours, full, quick = rank_filters.dot_bounds(dimension)
    n = 4 ** int(math.log(dimension, 4) + 1e-9) - 1  # all but one of these values are rounded down, by half a unit
    rounded = np.zeros((40, dimension))
    rounded[:, :n] = (1 + 2.0**-24) / math.sqrt(n + 1)
    rounded[:, n] = math.sqrt(1 - rounded[0] @ rounded[0])
    for made in (rng.standard_normal((40, dimension)), rng.random((40, dimension)) + 0.5, rounded):
        exact = unit(made)
        low = exact.astype(np.float32)
        in_order = np.array([[np.cumsum(a * b)[-1] for a in low] for b in low])
        compiled = np.array([[rank_kernels.coarse_dot(low, i, low, j) for j in range(40)] for i in range(40)])
        for product in (low @ low.T, in_order, compiled):
            assert np.abs(product - exact @ exact.T).max() <= coarse
        compiled = np.array([[rank_kernels.fours_dot(low, i, low, j) for j in range(40)] for i in range(40)])
        assert np.abs(compiled - exact @ exact.T).max() <= fours < 1e-6
        compiled = np.array([[rank_kernels.quick_dot(a, b) for a in low] for b in low])
        for product in (low.astype(np.float64) @ low.astype(np.float64).T, compiled):
            assert np.abs(product - exact @ exact.T).max() <= quick
        canonical = np.array([[rank_kernels.dot(a, b) for a in exact] for b in exact])
        compiled = np.array([[rank_kernels.full_dot(exact, i, exact, j) for j in range(40)] for i in range(40)])
        for product in (exact @ exact.T, compiled):
            assert np.abs(product - canonical).max() <= full < 1e-11


@pytest.mark.skipif(not HAS_BF16, reason="no bfloat16 products here")
def test_a_tile_gets_the_filter_that_is_cheapest_for_its_thresholds(monkeypatch):
    """bf16 where few pairs are in doubt, float32 where many are; tried only after a while, and never seen in a result."""
    rng = np.random.default_rng(0)
    queries, x = unit(rng.standard_normal((8, 64))), unit(rng.standard_normal((3000, 64)))
    choice, block = rank_choice.Choice(64), rank_blocks.Block(x)
    assert [kind.name for kind in choice.filters()] == ["float32"]
    choice.note(60)
    filters = choice.filters()
    names = ["float32", "bf16", "float64", "sparse", "grid", "steps", "positive"]
    assert [kind.name for kind in filters] == names and min(choice.seconds.values()) > 0
    choice.seconds = {"float32": 11e-9, "bf16": 5e-9, "float64": 22e-9, "pair": 80e-9, "full": 160e-9}
    as_queries = rank_blocks.Queries(queries)
    filters = [kind for kind in filters if kind.fits(as_queries, block)]
    assert len(filters) == 3
    offers = []
    for kind in filters:
        operand, margins = as_queries.rows(kind), kind.margins(as_queries, block)
        shift = block.shift(queries) * kind.is_centred
        offers.append(rank_choice.Offer(kind, operand, kind.bound(operand, block), shift, margins))
    everywhere = np.sort(queries @ x.T, axis=1)[:, ::-1] - 1e-9  # as thresholds of equal exemplars
    well, deep = np.tile(np.linspace(0.9, 0.8, 12), (8, 1)), np.tile(np.linspace(0.3, -0.3, 67), (8, 1))

    def picked(thresholds, n=3):
        return choice.pick(offers[:n], queries, block, (np.arange(9) * thresholds.shape[1], thresholds.ravel()))

    assert (picked(well), picked(deep), picked(everywhere)) == (1, 0, 2)

    # Those that no tile of a block takes rest for some blocks, unless what is left costs much more than usual.
    def left():
        return [kind.name for kind in choice.filters()]

    choice.rest(filters)
    assert left() == names and picked(deep) == 0
    choice.rest(filters)
    for _ in range(rank_choice._REST):
        assert left() == ["float32", "sparse", "grid", "steps", "positive"] and picked(deep, 1) == 0
        choice.rest(filters[:1])
    assert left() == names and picked(deep) == 0
    choice.rest(filters)
    assert picked(deep, 1) == 0 and "bf16" not in left()
    assert picked(everywhere, 1) == 0 and left() == names

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
