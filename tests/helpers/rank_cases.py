"""Rankings to try: random and adversarial rows, and what a float64 brute force says of them."""

import itertools

import numpy as np
from attribench.rank.products import has_bfloat16
from attribench.rank.ranker import Ranker
from hypothesis import settings
from hypothesis import strategies as st

FEW = settings(derandomize=True, deadline=None, max_examples=60, database=None)
HAS_BFLOAT16 = has_bfloat16(64)
PRODUCTS = ["float32", "float64", *(["bfloat16"] if HAS_BFLOAT16 else [])]
CHOICES = [
    ["float32", "float64"],
    ["bfloat16", "float32", "float64"][not HAS_BFLOAT16 :],
    *([name] for name in PRODUCTS),
]


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


def check_as(alone, case, **options):
    """Check that the rankings of `case`, without and with hard negatives, are those two."""
    for hard in (False, True):
        ranking = run(case, hard_negatives=hard, **options)
        same(alone[hard], ranking)
        np.testing.assert_array_equal(alone[hard].ranks_at, ranking.ranks_at)


def of_two_entries(queries, exemplars, x, rng):
    """Return a case of these rows, a tenth of the database's invalid."""
    case = {"queries": queries, "exemplars": exemplars, "x": x, "x_valid": rng.random(len(x)) < 0.9}
    for name, rows in (("q", queries), ("e", exemplars)):
        case |= {f"{name}_entry": np.arange(len(rows)) % 2, f"{name}_valid": np.ones(len(rows), bool)}
    return case


@st.composite
def cases(draw):
    """Return rows with duplicates across exemplars and database, zero rows, huge and tiny norms, invalid rows."""
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


def toward(queries, scores, directions):
    """Unit rows with the cosines `scores` to the unit rows `queries`, else in the `directions`, of the same shape."""
    aside = directions
    aside = unit(aside - (aside * queries).sum(axis=1, keepdims=True) * queries)
    scores = np.asarray(scores)[:, None]
    return scores * queries + np.sqrt(1 - scores**2) * aside


def close_case(seed, dimension, n_exemplars, data):
    """Database rows whose scores are a hair from an exemplar's: far within every filter's bound, of any length.

    They are all close together, so that they are centred, or point everywhere. A case, and the same one as the brute force
    has to see it.
    """
    rng = np.random.default_rng(seed)
    queries = unit(rng.standard_normal((3, dimension)))
    spread = data.draw(st.sampled_from([0.0, 1e-3, 0.3, 1.0]))  # from all in each other's bounds to all over the scale
    around = data.draw(st.sampled_from([0.0, 0.1, -0.6]))
    scores = np.clip(around + spread * rng.uniform(-1, 1, (3, n_exemplars)), -0.99, 0.99)
    steps = np.array([0.0, 1e-10, -1e-10, 1e-8, -1e-8, 1e-5, -1e-5, 1e-3, -1e-3])
    near = (scores[:, :, None] + steps).reshape(3, -1)
    close, middle = data.draw(st.booleans()), 5 * rng.standard_normal(dimension)

    def directions(n):
        return rng.standard_normal((n, dimension)) + close * middle

    def around_queries(wanted):
        rows = [toward(q[None].repeat(len(s), 0), s, directions(len(s))) for q, s in zip(queries, wanted, strict=True)]
        return np.concatenate(rows)

    exemplars, x = around_queries(scores), around_queries(near)
    x = np.concatenate([x, directions(500), np.zeros((0 if close else 2, dimension))])
    x = x[rng.permutation(len(x))]
    lengths = 2.0 ** rng.choice([0, 120] if close else [-120, 0, 120], len(x))[:, None]
    entry = np.repeat(np.arange(3), n_exemplars)
    case = {"queries": queries, "q_entry": np.arange(3), "exemplars": exemplars, "e_entry": entry, "x": x * lengths}
    case |= {f"{name}_valid": np.ones(len(rows), bool) for name, rows in (("q", queries), ("e", exemplars), ("x", x))}
    return case, {**case, "x": np.where(lengths < 1e-30, 0, x)}  # shorter than the floor of 1e-12: scores of zero


def rank(queries, query_entry, exemplars, exemplar_entry, database, *, hard_negatives=False, **options):
    """Rank against `database`, which yields consecutive slices (features, valid or None); with all as hard negatives."""
    ranker = Ranker(queries, query_entry, exemplars, exemplar_entry, **options)
    for features, valid in database:
        ranker.add(features, valid)
    if hard_negatives:
        ranker.add_hard_negatives(exemplars, np.asarray(exemplar_entry)[:, None], options.get("exemplar_valid"))
    return ranker.finish()
