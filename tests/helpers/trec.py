"""State what an independent scorer of TREC's files has to find."""

import math
from collections.abc import Iterator
from urllib.parse import unquote

import ir_measures
import pytest
from attribench.formats.ranking import Ranking
from attribench.metrics import query_table
from ir_measures import AP, RR, P, R


def expected_measures(ranking: Ranking, depth: int) -> Iterator[tuple[str, dict]]:
    """Yield each query's path and its measures with cut-offs up to `depth`, from our own ranks."""
    cut_offs = sorted({1, min(5, depth), depth})
    table = query_table(ranking, cut_offs)
    for q, row in table[table["valid"]].iterrows():
        ranks = ranking.ranks[ranking.pairs(q)].tolist()
        measures = {R @ k: row[f"recall@{k}"] for k in cut_offs}
        measures |= {P @ k: row[f"recall@{k}"] * len(ranks) / k for k in cut_offs}
        measures[AP @ depth] = math.fsum(i / r for i, r in enumerate(ranks, 1) if r <= depth) / len(ranks)
        measures[RR @ depth] = 1 / row["best_rank"] if row["best_rank"] <= depth else 0
        yield row["query"], measures


def check_scores(qrels: object, run: object, ranking: Ranking) -> None:
    """Score files, or text of two lines or more, with ir_measures (trec_eval's own code), and compare query by query."""
    expected = dict(expected_measures(ranking, ranking.neighbour_path.shape[1]))
    measures = {measure for of_query in expected.values() for measure in of_query}
    qrels, run = ir_measures.read_trec_qrels(str(qrels)), ir_measures.read_trec_run(str(run))
    scored = list(ir_measures.iter_calc(measures, list(qrels), list(run)))
    assert len(scored) == len(measures) * len(expected)
    for score in scored:
        ours = expected[unquote(score.query_id)][score.measure]
        assert score.value == pytest.approx(ours, abs=1e-12), (score, ours)
