"""TREC runs and qrels: what an independent reader and scorer makes of them equals our metrics up to the depth kept."""

import dataclasses
import itertools
import math
from collections import Counter
from urllib.parse import unquote

import ir_measures
import numpy as np
import pytest
from attribench.errors import InputError
from attribench.metrics import query_table, recall_name
from attribench.rank import rank
from attribench.rank_file import RankFile, read_rank_file, write_rank_file
from attribench.trec import field, first_positions, qrels_lines, run_lines, write_trec
from clone import TINY, Clone
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R


def text(values):
    return np.array(values, dtype=object)


def rank_file(seed=0, n_database=60, top_k=8, levels=3):
    """Five entries with 1 to 12 exemplars; features on a coarse grid, so that most scores tie and many images are equal.

    Entry 1 has an invalid exemplar, query 0 is invalid, and so are some images of the database.
    """
    rng = np.random.default_rng(seed)

    def features(n):
        return rng.integers(1, levels + 1, (n, 3)).astype(np.float32)

    q_entry, e_entry = np.repeat(np.arange(5), 4), np.repeat(np.arange(5), [1, 2, 5, 12, 3])
    q_valid, e_valid = np.arange(20) != 0, np.arange(23) != 1
    database = features(n_database), rng.random(n_database) < 0.9
    ranking = rank(
        *(features(20), q_entry, features(23), e_entry, [database]),
        query_valid=q_valid,
        exemplar_valid=e_valid,
        top_k=top_k,
    )
    return RankFile(
        *("style", "clip", "tuned"),
        query_path=text([f"synth/my query {i} 100%.png" for i in range(20)]),
        query_prompt_type=text(["gpt", "a type"] * 10),
        query_entry=q_entry,
        exemplar_path=text([f"exemplar/é\u2003{i}\t.jpg" for i in range(23)]),
        exemplar_entry=e_entry,
        exemplar_valid=e_valid,
        class_id=text([""] * 5),
        category=text([""] * 5),
        neighbour_path=text([[f"db/{i} .jpg" if i >= 0 else "" for i in row] for row in ranking.neighbour_index]),
        ranking=ranking,
    )


def expected_measures(content, depth):
    """Recall@k and AP@depth by query path, from our own ranks."""
    cut_offs = sorted({1, min(5, depth), depth})
    table, offsets, ranks = query_table(content, cut_offs), content.ranking.offsets, content.ranking.ranks
    for q, row in table[table["valid"]].iterrows():
        own = ranks[offsets[q] : offsets[q + 1]].tolist()
        found = {R @ k: row[recall_name(k)] for k in cut_offs}
        found |= {P @ k: row[recall_name(k)] * len(own) / k for k in cut_offs}
        found[AP @ depth] = math.fsum(i / r for i, r in enumerate(own, 1) if r <= depth) / len(own)
        found[RR @ depth] = 1 / row["best_rank"] if row["best_rank"] <= depth else 0
        yield row["query"], found


def check_scores(qrels, run, content):
    """Score files, or text of two lines or more, with ir_measures (trec_eval's own code), and compare query by query."""
    depth = content.neighbour_path.shape[1]
    expected = dict(expected_measures(content, depth))
    measures = {measure for found in expected.values() for measure in found}
    qrels, run = ir_measures.read_trec_qrels(str(qrels)), ir_measures.read_trec_run(str(run))
    scored = list(ir_measures.iter_calc(measures, list(qrels), list(run)))
    assert len(scored) == len(measures) * len(expected)
    for score in scored:
        ours = expected[unquote(score.query_id)][score.measure]
        assert score.value == pytest.approx(ours, abs=1e-12), (score, ours)


@settings(derandomize=True, deadline=None, max_examples=40, database=None)
@given(seed=st.integers(0, 10**6), n_database=st.integers(1, 60), top_k=st.integers(1, 30), levels=st.integers(1, 4))
def test_an_independent_scorer_finds_our_metrics(seed, n_database, top_k, levels):
    """Ties, equal images, exemplars above, among and below the neighbours, a database smaller than `top_k`."""
    content = rank_file(seed, n_database, top_k, levels)
    check_scores("".join(qrels_lines(content)), "".join(run_lines(content)), content)


def test_the_first_positions_are_those_of_the_whole_ranking():
    """A ranking cut at 5 shows the first five images of one cut nowhere."""
    whole, cut = (first_positions(rank_file(top_k=top_k, levels=50)) for top_k in (100, 5))
    assert (whole[:, :5] == cut).all()
    content = rank_file(top_k=100, levels=50)
    for q in np.flatnonzero(content.ranking.query_valid):
        part = slice(content.ranking.offsets[q], content.ranking.offsets[q + 1])
        shown = list(filter(None, whole[q]))
        assert len(shown) == len(set(shown)) == content.ranking.n_database + part.stop - part.start
        exemplars = content.exemplar_path[content.ranking.exemplar[part]]
        assert [shown[r - 1] for r in content.ranking.ranks[part]] == exemplars.tolist()


def test_the_lines_of_a_run():
    content = rank_file()
    lines = [line.split() for line in run_lines(content)]
    assert {len(line) for line in lines} == {6} and {(line[1], line[5]) for line in lines} == {("Q0", "clip_tuned")}
    assert len(lines) == 19 * 8
    for query, own in itertools.groupby(lines, lambda line: line[0]):
        own = list(own)
        assert unquote(query) in content.query_path[1:]
        assert [int(line[3]) for line in own] == list(range(1, 9))
        assert (np.diff(np.array([line[4] for line in own], np.float32)) == -1).all()


def test_scores_fall_strictly_in_float32_however_deep():
    content = rank_file(n_database=1, top_k=1)
    deep = text([[f"db/{i}" for i in range(200_000)]] + [[""] * 200_000] * 19)
    ranking = dataclasses.replace(content.ranking, query_valid=np.arange(20) == 0)
    content = dataclasses.replace(content, neighbour_path=deep, ranking=ranking)
    scores = np.array([line.split()[4] for line in run_lines(content)], np.float32)
    assert len(scores) == 200_000 and (np.diff(scores) < 0).all()


def test_the_lines_of_the_qrels():
    content = rank_file()
    lines = [line.split() for line in qrels_lines(content)]
    assert lines[0] == ["synth/my%20query%201%20100%25.png", "a%20type", "exemplar/é%E2%80%830%09.jpg", "1"]
    assert {line[1] for line in lines} == {"gpt", "a%20type"}
    counts = Counter(unquote(line[0]) for line in lines)
    table = query_table(content, [1])
    assert counts == dict(zip(content.query_path[1:], table["n_exemplars"][1:], strict=True))
    unnamed = dataclasses.replace(content, query_prompt_type=text([""] * 20))
    assert next(qrels_lines(unnamed)).split()[1] == "-"


@settings(derandomize=True, deadline=None, database=None)
@given(st.text(st.characters(codec="utf-8")))
def test_a_field_is_one_word_and_can_be_read_back(path):
    assert len(f"a{field(path)}".split()) == 1 and len(f"a{field(path)}".splitlines()) == 1
    assert unquote(field(path), errors="strict") == path


def test_methods_that_could_not_read_the_same_images_are_refused(tmp_path):
    content = rank_file()
    valid = content.ranking.query_valid.copy()
    valid[19] = False
    stop = content.ranking.offsets[19]
    cut = {name: getattr(content.ranking, name)[:stop] for name in ("ranks", "scores", "exemplar")}
    cut["ranks_at"] = content.ranking.ranks_at[:, :stop]
    offsets = np.minimum(content.ranking.offsets, stop)
    other = dataclasses.replace(
        content, ranking=dataclasses.replace(content.ranking, query_valid=valid, offsets=offsets, **cut)
    )
    write_rank_file(tmp_path / "a.h5", content)
    write_rank_file(tmp_path / "b.h5", other)
    with pytest.raises(InputError, match=r"b\.h5: query_valid differs from .*a\.h5; expected the same queries"):
        write_trec(tmp_path / "q", [tmp_path / "a.run", tmp_path / "b.run"], [tmp_path / "a.h5", tmp_path / "b.h5"])
    assert not (tmp_path / "b.run").exists()


@pytest.mark.workflow
def test_the_workflow_exports_every_method_when_asked(finished_copy):
    clone, results = finished_copy, finished_copy.folder / "results"
    assert not (results / "trec").exists(), "`all` does not make it"
    clone.run("trec")
    splits, methods = ("sample_style", "sample_object"), [f"{name}_pretrained" for name in TINY["extractors"]]
    for split, method in itertools.product(splits, methods):
        content = read_rank_file(results / f"ranks/{split}/{method}.h5")
        check_scores(results / f"trec/{split}.qrels", results / f"trec/{split}/{method}.run", content)
    assert len(list((results / "trec").glob("*/*.run"))) == len(splits) * len(methods)
    check_what_runs_again(clone)


def check_what_runs_again(clone: Clone) -> None:
    assert clone.planned(None, "trec") == Counter()
    assert clone.planned({"recall_ks": [1]}, "trec") == Counter()
    assert clone.planned({"top_k": 7}, "trec") == Counter(rank=4, trec=1)
    assert clone.planned({"extractors": ["color"]}, "trec") == Counter(trec=1)
    module = clone.folder / "workflow_scripts/attribench/trec.py"
    module.write_text(module.read_text() + "\n# changed\n")
    assert clone.planned(None, "trec") == Counter(trec=1)
