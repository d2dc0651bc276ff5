"""The answer: equal to the run's ranks and influence, and to the formula over all candidates."""

import numpy as np
import pytest
from attribench.demo.attribution import attribute
from attribench.demo.candidates import alone, read_split
from attribench.demo.method import Network, exact_scores, get_ready
from attribench.demo.run import Run
from attribench.formats.calibrator import read_calibrator
from attribench.formats.influence import read_influence
from attribench.formats.rank_file import read_rank_file
from attribench.formats.ranking import Method
from attribench.formats.shards import open_feature_shard
from helpers.influences import influence_by_formula

METHODS = [Method("tiny", "pretrained"), Method("tiny", "tuned"), Method("color", "pretrained")]


@pytest.fixture(scope="module")
def run(finished_demo):
    return Run([finished_demo])


@pytest.fixture(scope="module")
def ready(run):
    return {method: get_ready(run.files_of(method), 2, lambda share: None) for method in METHODS}


@pytest.fixture(scope="module")
def zoo(run):
    files = {method: run.files_of(method) for method in METHODS}
    return {method: read_split(one.splits["zoo"], one.database) for method, one in files.items()}


def database_scores(ready, unit):
    """Return the canonical scores of all the database, from its shards."""
    features = []
    for path in ready.files.database.shards:
        with open_feature_shard(path) as shard:
            features.append(shard.read())
    return exact_scores(unit, ready.real(np.concatenate(features)))


def unit_of(ready, feature):
    query = ready.synth(feature[None]).astype(np.float64)
    return query / np.linalg.norm(query)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_ranks_scores_and_influence_are_the_librarys(run, ready, zoo, method):
    where = [
        f"{run.config.results}/{kind}/zoo/{method.extractor}/{method.variant}.h5" for kind in ("ranks", "influence")
    ]
    ranking = read_rank_file(where[0])
    influence = read_influence(where[1], ranking)
    k = influence.top.shape[1]
    for q, path in enumerate(ranking.query_path):
        query = zoo[method].query(path)
        answer, pairs = attribute(query, ready[method], k), ranking.pairs(q)
        assert [one.rank for one in answer.own] == ranking.ranks[pairs].tolist()
        assert [one.score for one in answer.own] == ranking.scores[pairs].tolist()
        assert [one.path for one in answer.own] == ranking.exemplar_path[ranking.exemplar[pairs]].tolist()
        neighbours = [one for one in answer.first if not one.is_exemplar]
        assert [one.path for one in neighbours] == ranking.neighbour_path[q, : len(neighbours)].tolist()
        assert [one.score for one in neighbours] == ranking.neighbour_score[q, : len(neighbours)].tolist()
        # As far as the run's histogram of scores says (docs/methods.md, "Sums").
        shares = [one.influence for one in answer.first]
        np.testing.assert_allclose(shares, influence.top[q], rtol=1.2e-4)
        np.testing.assert_allclose([one.influence for one in answer.own], influence.exemplar[pairs], rtol=1.2e-4)
        np.testing.assert_allclose(answer.on_exemplars, influence.exemplar[pairs].sum(), rtol=1.2e-4)
        np.testing.assert_allclose(answer.effective_number, influence.effective_number[q], rtol=1.2e-4)
        assert sum(shares) + answer.remaining == pytest.approx(1, abs=1e-12)
        # And exactly, over all candidates.
        unit = unit_of(ready[method], query.feature)
        own = exact_scores(unit, ready[method].real(query.exemplar_features))
        scores = np.concatenate([database_scores(ready[method], unit), own])
        exact = influence_by_formula(scores, read_calibrator(ready[method].files.calibrator))
        np.testing.assert_allclose(shares, np.sort(exact)[::-1][:k], rtol=1e-6, atol=1e-15)


def test_an_image_of_ones_own_has_the_exemplars_of_all_entries_or_none(run, ready, zoo):
    method = METHODS[0]
    network, path = Network(run.files_of(method), run.config.root, "cpu"), zoo[method].queries[1][0].path
    feature = network.feature(run.image(path), run.reading)
    np.testing.assert_allclose(feature, zoo[method].query(path).feature, rtol=1e-5, atol=1e-6)
    with_exemplars = attribute(zoo[method].with_all_exemplars(feature), ready[method], 100)
    assert (with_exemplars.n_database, with_exemplars.n_exemplars, with_exemplars.own) == (40, 6, [])
    assert len(with_exemplars.first) == 46 and with_exemplars.n_others == 0
    assert with_exemplars.remaining == pytest.approx(0, abs=1e-9)
    assert {one.entry for one in with_exemplars.first if one.is_exemplar} == {0, 1, 2}
    without = attribute(alone(feature), ready[method], 5)
    assert (without.n_exemplars, without.n_others, without.on_exemplars) == (0, 35, 0)
    scores = [one.score for one in with_exemplars.first]
    assert scores == sorted(scores, reverse=True)


def test_without_a_calibrator_there_are_scores_alone(finished_demo, zoo):
    run = Run([finished_demo], ["influence=false"])
    method = METHODS[0]
    bare = get_ready(run.files_of(method), 1, lambda share: None)
    answer = attribute(zoo[method].query(zoo[method].queries[0][0].path), bare, 5)
    assert bare.calibrator is None and not bare.made
    assert answer.remaining is None and {one.influence for one in answer.first} == {None}
    assert answer.own[0].rank >= 1
