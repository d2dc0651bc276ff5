"""Standings say which method is best, which cannot be told from it, and which it beats."""

import math

import pytest
from attribench.common.tables_io import write_table
from attribench.formats.ranking import Method
from attribench.tables.standings import Outcome, Pair, standings
from attribench.tables.tables import read_comparisons, read_summary
from helpers.standings import made_standings, summary_and_comparisons

A, B = Method("a", "pretrained"), Method("b", "pretrained")
GOOD, MIXED, SWAPPED, BAD = [1] * 12, [1, 2] * 6, [2, 1] * 6, [60] * 12


@pytest.mark.parametrize(
    ("low", "high", "p_holm", "outcome"),
    [
        (0.01, 0.2, 0.05, Outcome.AHEAD),
        (-0.2, -0.01, 0.01, Outcome.AHEAD),
        (0.01, 0.2, 0.051, Outcome.UNADJUSTED),
        (0.0, 0.2, 0.01, Outcome.TIED),
        (-0.1, 0.2, 1.0, Outcome.TIED),
        (math.nan, math.nan, 0.5, Outcome.UNKNOWN),
    ],
)
def test_an_outcome_follows_from_the_interval_and_from_holm(low, high, p_holm, outcome):
    assert Pair(A, B, 0.1, low, high, 0.01, p_holm).outcome(0.95) is outcome


def test_the_best_ties_and_beats():
    [by_map, _] = sorted(
        made_standings({"a": {"gpt": MIXED}, "b": {"gpt": SWAPPED}, "c": {"gpt": BAD}}), key=lambda s: s.metric != "mAP"
    )
    assert by_map.best.label == "a", "of equal ones the first"
    assert [mean.label for mean in by_map.leaders] == ["a", "b"]
    assert [mean.label for mean in by_map.with_outcome(Outcome.AHEAD)] == ["c"]
    assert by_map.is_above_chance(by_map.best) and not by_map.is_above_chance(by_map.others[-1])
    lead, back = by_map.pair(A, Method("c", "pretrained")), by_map.pair(Method("c", "pretrained"), A)
    assert (back.value, back.low, back.high) == (-lead.value, -lead.high, -lead.low)
    assert lead.value > 0 and lead.low > 0


def test_the_order_of_the_methods_does_not_matter():
    ranks = {"a": {"gpt": MIXED}, "b": {"gpt": GOOD}, "c": {"gpt": BAD}}
    for order in (("a", "b", "c"), ("c", "a", "b"), ("b", "c", "a")):
        for standing in made_standings({name: ranks[name] for name in order}):
            if standing.metric == "mAP":
                assert standing.best.label == "b"
                assert {m.label for m in standing.with_outcome(Outcome.AHEAD)} == {"a", "c"}


def test_few_entries_have_no_interval_and_one_method_no_pair():
    [standing, _] = made_standings({"a": {"gpt": [1, 1]}, "b": {"gpt": [9, 9]}})
    assert [mean.label for mean in standing.with_outcome(Outcome.UNKNOWN)] == ["b"]
    assert not standing.is_above_chance(standing.best), "without an interval nothing is shown"
    [alone, _] = made_standings({"a": {"gpt": GOOD}})
    assert alone.others == [] and alone.pairs == ()


def test_the_tables_that_are_written_say_the_same(tmp_path):
    made = summary_and_comparisons({"a": {"gpt": MIXED, "object": GOOD}, "b": {"gpt": SWAPPED, "object": BAD}})
    for name, table in zip(("summary", "comparisons"), made, strict=True):
        write_table(tmp_path / f"{name}.csv", table)
    read = standings(read_summary(tmp_path / "summary.csv"), read_comparisons(tmp_path / "comparisons.csv"), 0.95)
    assert read == standings(*made, 0.95)
    assert [(s.prompt_type, s.metric) for s in read] == [(p, m) for p in ("gpt", "object") for m in ("recall@5", "mAP")]
