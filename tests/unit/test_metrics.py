"""Metrics against hand-worked cases, enumeration, and an independent implementation."""

import itertools
import math

import ir_measures
import numpy as np
import pandas as pd
import pytest
from attribench import metrics
from attribench.common.errors import InputError
from attribench.common.tables_io import write_table
from helpers.rankings import make_ranking, text
from hypothesis import given, settings
from hypothesis import strategies as st

FEW = settings(derandomize=True, deadline=None, max_examples=60, database=None)


def csr(*queries):
    offsets = np.concatenate([[0], np.cumsum([len(ranks) for ranks in queries])]).astype(np.int64)
    return offsets, np.array([rank for ranks in queries for rank in ranks], np.int64)


def test_hand_worked_values():
    offsets, ranks = csr([1, 2, 6], [], [4])
    assert metrics.average_precision(offsets, ranks)[[0, 2]].tolist() == [(1 + 1 + 0.5) / 3, 0.25]
    assert metrics.recall_at(offsets, ranks, [1, 2, 6])[[0, 2]].tolist() == [[1 / 3, 2 / 3, 1], [0, 0, 1]]
    assert np.isnan(metrics.average_precision(offsets, ranks)[1])
    assert np.isnan(metrics.recall_at(offsets, ranks, [1, 2])[1]).all()
    assert metrics.average_precision(*csr()).shape == (0,)
    assert metrics.recall_at(*csr(), [5]).shape == (0, 1)


@FEW
@given(st.lists(st.sets(st.integers(1, 150), min_size=1, max_size=67), min_size=1, max_size=4))
def test_an_independent_implementation_agrees(queries):
    """The rankings themselves, 150 candidates each, go through ir_measures."""
    offsets, ranks = csr(*(sorted(query) for query in queries))
    ap, recalls = metrics.average_precision(offsets, ranks), metrics.recall_at(offsets, ranks, [5, 10, 100])
    relevant = {str(q): {f"c{r}": 1 for r in query} for q, query in enumerate(queries)}
    run = {str(q): {f"c{r}": float(-r) for r in range(1, 151)} for q in range(len(queries))}
    measures = [ir_measures.AP, ir_measures.R @ 5, ir_measures.R @ 10, ir_measures.R @ 100]
    theirs = {(m.query_id, m.measure): m.value for m in ir_measures.iter_calc(measures, relevant, run)}
    for q in range(len(queries)):
        assert [theirs[str(q), measure] for measure in measures] == pytest.approx([ap[q], *recalls[q]], abs=1e-12)


@pytest.mark.parametrize(("m", "n"), [(m, n) for n in range(1, 9) for m in range(1, n + 1)])
def test_chance_and_ceiling_by_enumeration(m, n):
    queries = [list(ranks) for ranks in itertools.combinations(range(1, n + 1), m)]
    offsets, ranks = csr(*queries)
    assert metrics.average_precision(offsets, ranks).mean() == pytest.approx(metrics.chance_average_precision(m, n))
    for k in (1, 2, 3, 10):
        recalls = metrics.recall_at(offsets, ranks, [k])
        assert recalls.mean() == pytest.approx(metrics.chance_recall(k, n))
        assert recalls.max() == metrics.ceiling_recall(k, m)


@pytest.mark.parametrize("metric", metrics.all_metrics([1, 3]), ids=lambda metric: metric.name)
@pytest.mark.parametrize(("m", "n"), [(1, 2), (2, 5), (3, 7), (4, 4)])
def test_every_metrics_chance_and_ceiling_by_enumeration(metric, m, n):
    """Over all rankings, values lie from 0 to the ceiling, which one reaches, and chance is their mean."""
    offsets, ranks = csr(*(list(ranks) for ranks in itertools.combinations(range(1, n + 1), m)))
    values = metric.of_queries(offsets, ranks)
    exemplars, candidates = np.full(len(values), m), np.full(len(values), n)
    assert values.mean() == pytest.approx(np.mean(metric.chance(exemplars, candidates)))
    assert 0 <= values.min() and values.max() <= 1
    assert values.max() == pytest.approx(metric.ceiling(exemplars, candidates)[0])
    assert metric.cut_off is None or metric.cut_off < n or np.ptp(values) == 0


def test_a_cut_off_that_no_ranking_can_miss_tells_nothing():
    """Query 1 has 31 candidates and is invalid, query 2 has 30: of them, all are among the first 30."""
    table = metrics.query_table(ranking(), [5, 29, 30, 100])
    kept = [metric.name for metric in metrics.telling_metrics([table], [5, 29, 30, 100]) if "recall" in metric.name]
    assert kept == ["recall@5", "recall@29"] and metrics.least_candidates([table]) == 30
    nothing = table.assign(valid=False)
    assert metrics.least_candidates([nothing]) is None
    assert metrics.telling_metrics([nothing], [100])[0].name == "recall@100"


def test_chance_for_arrays_and_large_databases():
    n = 1_000_012
    harmonic = math.fsum(1 / i for i in range(1, n + 1))
    expected = [(harmonic + (m - 1) / (n - 1) * (n - harmonic)) / n for m in (1, 12)]
    assert metrics.chance_average_precision(np.array([1, 12]), np.array([n, n])) == pytest.approx(expected, rel=1e-13)


def ranking(**changes):
    """Return two entries; the second has an invalid exemplar, query 1 is invalid, and a category is called NA."""
    return make_ranking(
        [[3, 5], [], [8]],
        [0, 0, 1],
        ["gpt", "object", "gpt"],
        n_database=29,
        query_path=text(["a,b.png", "c.png", "d.png"]),
        exemplar_path=text(["e", "f", "g", "h"]),
        exemplar_entry=np.array([0, 0, 1, 1]),
        exemplar_valid=np.array([True, True, True, False]),
        class_id=text(["007", "1.0"]),
        category=text(["NA", ""]),
        **changes,
    )


def test_the_table_of_queries():
    table = metrics.query_table(ranking(), [5, 10])
    names = ["AP", "recall@5", "recall@10"]
    types = table.dtypes.astype(str).to_dict()
    assert types | metrics.COLUMNS | dict.fromkeys(names, "float64") == types
    assert list(table)[: len(metrics.COLUMNS) + 1] == [*metrics.COLUMNS, "AP"]
    assert [name for name in table if name in names] == names
    assert {*table} == {*metrics.COLUMNS} | {metric.column for metric in metrics.all_metrics([5, 10])}
    assert table["valid"].tolist() == [True, False, True]
    assert table["n_exemplars"].tolist() == [2, 2, 1]
    assert table["n_candidates"].tolist() == [31, 31, 30]
    assert table["best_rank"].tolist() == [3, pd.NA, 8]
    values = table[["AP", "recall@5", "recall@10"]].to_numpy()
    assert values[[0, 2]].tolist() == [[(1 / 3 + 2 / 5) / 2, 1, 1], [1 / 8, 0, 1]] and np.isnan(values[1]).all()


def test_hard_negatives_are_candidates_of_every_query():
    table = metrics.query_table(ranking(hard_negatives=True), [5])
    assert table["n_candidates"].tolist() == [29 + 3] * 3 and table["n_exemplars"].tolist() == [2, 2, 1]


def test_the_metrics_file_is_read_as_it_was_written(tmp_path):
    table = metrics.query_table(ranking(), [5, 10])
    write_table(tmp_path / "metrics.csv", table)
    lines = (tmp_path / "metrics.csv").read_text().split("\n")
    assert lines[0].startswith("query,prompt_type,entry,class_id,category,valid,n_exemplars,n_candidates,best_rank,AP,")
    assert lines[1].startswith('"a,b.png",gpt,0,007,NA,True,2,31,')
    assert lines[2].rstrip(",") == "c.png,object,0,007,NA,False,2,31"
    read = metrics.read_query_table(tmp_path / "metrics.csv")
    pd.testing.assert_frame_equal(read, table, check_exact=True)


def test_a_file_that_is_no_metrics_file_is_refused(tmp_path):
    path = tmp_path / "metrics.csv"
    with pytest.raises(InputError, match=r"metrics\.csv: .*does not exist"):
        metrics.read_query_table(path)
    for content, message in {
        "": "not a metrics file",
        "query,AP\na,0.5\n": "lacks the column prompt_type",
        f"{','.join(metrics.COLUMNS)}\na,gpt,0,,,yes,1,2,1\n": "not of its column's type",
    }.items():
        path.write_text(content)
        with pytest.raises(InputError, match=rf"metrics\.csv: .*{message}"):
            metrics.read_query_table(path)


def test_average_precision_does_not_depend_on_the_neighbouring_queries():
    rng = np.random.default_rng(5)
    queries = [sorted(rng.choice(10**6, 67, replace=False) + 1) for _ in range(20)]
    together = metrics.average_precision(*csr(*queries))
    alone = [metrics.average_precision(*csr(query))[0] for query in queries]
    assert together.tolist() == alone
