"""TREC runs and qrels: what an independent reader and scorer makes of them equals our metrics up to the depth kept."""

import dataclasses
import itertools
from collections import Counter
from urllib.parse import unquote

import numpy as np
import pytest
from attribench.common.errors import InputError
from attribench.formats.manifest import ManifestRow
from attribench.formats.rank_file import write_rank_file
from attribench.formats.ranking import Method
from attribench.metrics import query_table
from attribench.rank.rank import make_ranking
from attribench.trec import field, first_paths, qrels_lines, run_lines, write_trec
from helpers.rank_cases import rank
from helpers.rankings import text
from helpers.trec import check_scores
from hypothesis import given, settings
from hypothesis import strategies as st


def ranked(seed=0, n_database=60, top_k=8, levels=3):
    """Rank five entries with 1 to 12 exemplars by features on a coarse grid: most scores tie and many images are equal.

    Entry 1 has an invalid exemplar, query 0 is invalid, and so are some images of the database.
    """
    rng = np.random.default_rng(seed)

    def features(n):
        return rng.integers(1, levels + 1, (n, 3)).astype(np.float32)

    q_entry, e_entry = np.repeat(np.arange(5), 4), np.repeat(np.arange(5), [1, 2, 5, 12, 3])
    q_valid, e_valid = np.arange(20) != 0, np.arange(23) != 1
    database = features(n_database), rng.random(n_database) < 0.9
    ranks = rank(
        *(features(20), q_entry, features(23), e_entry, [database]),
        query_valid=q_valid,
        exemplar_valid=e_valid,
        top_k=top_k,
    )
    types = ["gpt", "a type"] * 10
    return make_ranking(
        ranks,
        "style",
        Method("clip", "tuned"),
        queries=[
            ManifestRow(f"synth/my query {i} 100%.png", "query", e, types[i]) for i, e in enumerate(q_entry.tolist())
        ],
        exemplars=[ManifestRow(f"exemplar/é\u2003{i}\t.jpg", "exemplar", e) for i, e in enumerate(e_entry.tolist())],
        exemplar_valid=e_valid,
        database_paths={i: f"db/{i} .jpg" for i in range(n_database)},
    )


@settings(derandomize=True, deadline=None, max_examples=40, database=None)
@given(seed=st.integers(0, 10**6), n_database=st.integers(1, 60), top_k=st.integers(1, 30), levels=st.integers(1, 4))
def test_an_independent_scorer_finds_our_metrics(seed, n_database, top_k, levels):
    """Ties, equal images, exemplars above, among and below the neighbours, a database smaller than `top_k`."""
    ranking = ranked(seed, n_database, top_k, levels)
    check_scores("".join(qrels_lines(ranking)), "".join(run_lines(ranking)), ranking)


def test_the_first_positions_are_those_of_the_whole_ranking():
    """A ranking cut at 5 shows the first five images of one cut nowhere."""
    whole, cut = (first_paths(ranked(top_k=top_k, levels=50)) for top_k in (100, 5))
    assert (whole[:, :5] == cut).all()
    ranking = ranked(top_k=100, levels=50)
    for q in np.flatnonzero(ranking.query_valid):
        pairs = ranking.pairs(q)
        shown = list(filter(None, whole[q]))
        assert len(shown) == len(set(shown)) == ranking.n_database + pairs.stop - pairs.start
        exemplars = ranking.exemplar_path[ranking.exemplar[pairs]]
        assert [shown[r - 1] for r in ranking.ranks[pairs]] == exemplars.tolist()
        for of_all, alone in zip(ranking.first_positions(7), ranking.first_positions(7, q), strict=True):
            assert alone.tolist() == [of_all[q].tolist()]


def test_the_lines_of_a_run():
    ranking = ranked()
    lines = [line.split() for line in run_lines(ranking)]
    assert {len(line) for line in lines} == {6} and {(line[1], line[5]) for line in lines} == {("Q0", "clip_tuned")}
    assert len(lines) == 19 * 8
    for query, own in itertools.groupby(lines, lambda line: line[0]):
        own = list(own)
        assert unquote(query) in ranking.query_path[1:]
        assert [int(line[3]) for line in own] == list(range(1, 9))
        assert (np.diff(np.array([line[4] for line in own], np.float32)) == -1).all()


def test_scores_fall_strictly_in_float32_however_deep():
    ranking, deep = ranked(n_database=1, top_k=1), 200_000
    neighbours = {"neighbour_path": text([[f"db/{i}" for i in range(deep)]] * 20)}
    neighbours["neighbour_index"] = np.tile(np.arange(deep), (20, 1))
    ranking = dataclasses.replace(ranking, query_valid=np.arange(20) == 0, **neighbours)
    scores = np.array([line.split()[4] for line in run_lines(ranking)], np.float32)
    assert len(scores) == deep and (np.diff(scores) < 0).all()


def test_the_lines_of_the_qrels():
    ranking = ranked()
    lines = [line.split() for line in qrels_lines(ranking)]
    assert lines[0] == ["synth/my%20query%201%20100%25.png", "a%20type", "exemplar/é%E2%80%830%09.jpg", "1"]
    assert {line[1] for line in lines} == {"gpt", "a%20type"}
    counts = Counter(unquote(line[0]) for line in lines)
    table = query_table(ranking, [1])
    assert counts == dict(zip(ranking.query_path[1:], table["n_exemplars"][1:], strict=True))
    unnamed = dataclasses.replace(ranking, query_prompt_type=text([""] * 20))
    assert next(qrels_lines(unnamed)).split()[1] == "-"


@settings(derandomize=True, deadline=None, database=None)
@given(st.text(st.characters(codec="utf-8")))
def test_a_field_is_one_word_and_can_be_read_back(path):
    assert len(f"a{field(path)}".split()) == 1 and len(f"a{field(path)}".splitlines()) == 1
    assert unquote(field(path), errors="strict") == path


def test_methods_that_could_not_read_the_same_images_are_refused(tmp_path):
    ranking = ranked()
    start = ranking.offsets[19]
    without_last = {name: getattr(ranking, name)[:start] for name in ("ranks", "scores", "exemplar")}
    without_last |= {"ranks_at": ranking.ranks_at[:, :start], "offsets": np.minimum(ranking.offsets, start)}
    without_last["query_valid"] = ranking.query_valid & (np.arange(20) != 19)
    write_rank_file(tmp_path / "a.h5", ranking)
    write_rank_file(tmp_path / "b.h5", dataclasses.replace(ranking, **without_last))
    with pytest.raises(InputError, match=r"b\.h5: query_valid differs from .*a\.h5; expected the same queries"):
        write_trec(tmp_path / "q", [tmp_path / "a.run", tmp_path / "b.run"], [tmp_path / "a.h5", tmp_path / "b.h5"])
    assert not (tmp_path / "b.run").exists()
