"""Precisions held against each other: the extractors that it takes, and the table."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from attribench.metrics import query_table
from attribench.plan.config import load
from attribench.plan.plan import Plan
from attribench.tables import tables
from attribench.tables.precisions import PRECISION_COLUMNS, precisions_table
from helpers.config import changed
from helpers.rankings import RESAMPLING, four_entries

COMPARED = [("tiny_bf16", "tiny", "bf16", "float32")]


def test_each_network_is_followed_by_itself_in_the_other_precision():
    config = load(changed(compare_precisions="bf16"))
    assert config.extractors == [
        "efficientnet_lite0",
        "efficientnet_lite0_bf16",
        "color",
        "untrained",
        "untrained_bf16",
    ]
    assert config.compared == [
        ("efficientnet_lite0_bf16", "efficientnet_lite0", "bf16", "float32"),
        ("untrained_bf16", "untrained", "bf16", "float32"),
    ]
    registry = config.extractor_registry
    assert registry["untrained_bf16"] == registry["untrained"].model_copy(update={"precision": "bf16"})
    assert load(changed()).compared == []


def test_none_is_compared_with_itself():
    changes = {"extractor_registry__untrained__precision": "bf16", "compare_precisions": ["bf16", "float32"]}
    config = load(changed(**changes))
    assert config.compared == [
        ("efficientnet_lite0_bf16", "efficientnet_lite0", "bf16", "float32"),
        ("untrained_float32", "untrained", "float32", "bf16"),
    ]


def test_pixels_and_given_files_are_shared(tmp_path):
    choice = {"root": str(tmp_path), "variants": ["pretrained", "tuned"], "extractors": ["clip", "moco"]}
    alone, plan = (
        Plan(load(changed(benchmark="abc", **choice, compare_precisions=precisions))) for precisions in ([], ["bf16"])
    )
    assert plan.given_paths == alone.given_paths
    assert set(plan.preprocessing.values()) == set(alone.preprocessing.values())
    assert plan.weights_paths("moco_bf16") == plan.weights_paths("moco")
    assert plan.mapper_file("moco_bf16", "tuned") == "weights/mapper/moco_tuned.pth"


def ranked(extractor, change=None, n_entries=4):
    """8 queries a prompt type, all of whose exemplars come first; `change` alters ranks, exemplars, or both, in place.

    A query's exemplars are rows of `exemplar_path`: of entry 0 the row 0, of entry 1 the rows 1 and 2, …
    """
    ranking = four_entries(extractor, 0, sizes=(), n_entries=n_entries)
    ranks = np.concatenate([np.arange(1, n + 1) for n in np.diff(ranking.offsets)])
    exemplar = ranking.exemplar.copy()
    if change:
        change(ranking.offsets, ranks, exemplar)
    return dataclasses.replace(ranking, ranks=ranks, exemplar=exemplar)


def demote_and_swap(offsets, ranks, exemplar):
    """With prompt type gpt, query 2's exemplar (entry 0) falls to rank 7, and query 6's two (entry 1) swap ranks."""
    ranks[offsets[2]] = 7
    exemplar[offsets[6] : offsets[7]] = exemplar[offsets[6] : offsets[7]][::-1].copy()


def test_the_table_in_hand_worked_numbers():
    rankings = [ranked("tiny"), ranked("tiny_bf16", demote_and_swap)]
    table = precisions_table(rankings, COMPARED, "sample", RESAMPLING)
    assert list(table) == list(PRECISION_COLUMNS)
    assert table[list(PRECISION_COLUMNS[:7])].to_numpy().tolist() == [
        ["sample", "zoo", prompt_type, "tiny", "pretrained", "bf16", "float32"] for prompt_type in ("object", "gpt")
    ]
    names = ["n_queries", "n_entries", "n_ranks", "n_changed", "share_changed", "median_change", "largest_change"]
    assert table[names].to_numpy().tolist() == [[8, 4, 20, 0, 0, 0, 0], [8, 4, 20, 3, 0.15, 0, 6]]
    assert table["mAP_reference"].tolist() == [1, 1]
    assert table["mAP"].tolist() == pytest.approx([1, (7 + 1 / 7) / 8], abs=1e-15)
    assert table["difference"].tolist() == pytest.approx([0, -6 / 7 / 8], abs=1e-15)
    assert table[["ci_low", "ci_high"]].isna().all(axis=None)
    assert table["note"].tolist() == ["no interval: fewer than 6 entries"] * 2


def shift(offsets, ranks, exemplar):
    """Every query's exemplars fall by up to 4 ranks, and come in another order."""
    rng = np.random.default_rng(0)
    for first, stop in pairwise(offsets):
        ranks[first:stop] += rng.integers(0, 5)
        exemplar[first:stop] = rng.permutation(exemplar[first:stop])


def test_every_exemplar_is_held_against_itself():
    own, reference = ranked("tiny_bf16", shift), ranked("tiny")
    ranks = {}
    for name, ranking in (("own", own), ("reference", reference)):
        for query, prompt_type in enumerate(ranking.query_prompt_type):
            for row in range(ranking.offsets[query], ranking.offsets[query + 1]):
                ranks.setdefault((prompt_type, query, ranking.exemplar[row]), {})[name] = ranking.ranks[row]
    table = precisions_table([own, reference], COMPARED, "sample", RESAMPLING).set_index("prompt_type")
    for prompt_type in ("object", "gpt"):
        changes = [abs(r["own"] - r["reference"]) for (p, *_), r in ranks.items() if p == prompt_type]
        assert 0 < np.median(changes) < max(changes), "made so that every column says something"
        numbers = (len(changes), np.count_nonzero(changes), np.median(changes), max(changes))
        names = ["n_ranks", "n_changed", "median_change", "largest_change"]
        assert tuple(table.loc[prompt_type, names]) == numbers


def test_the_difference_is_that_of_the_comparisons():
    rankings = [ranked("tiny_bf16", shift, 8), ranked("tiny", n_entries=8)]
    methods = {(ranking.split, *ranking.method): query_table(ranking, [5]) for ranking in rankings}
    comparisons = tables.comparisons_table(methods, "sample", [5], RESAMPLING)
    expected = comparisons[comparisons["metric"] == "mAP"]
    found = precisions_table(rankings, COMPARED, "sample", RESAMPLING)
    for name in ("difference", "ci_low", "ci_high", "n_queries", "n_entries"):
        assert found[name].tolist() == expected[name].tolist(), name
    assert (found["ci_low"] < found["difference"]).all() and (found["difference"] < found["ci_high"]).all()


def without_last_query(ranking):
    start = ranking.offsets[-2]
    rows = {name: getattr(ranking, name)[:start] for name in ("ranks", "scores", "exemplar")}
    valid = ranking.query_valid & (np.arange(len(ranking.query_valid)) < len(ranking.query_valid) - 1)
    return dataclasses.replace(ranking, offsets=np.minimum(ranking.offsets, start), query_valid=valid, **rows)


def demote_last(offsets, ranks, exemplar):
    """The last exemplar of the last query (entry 3, gpt) falls to rank 50."""
    ranks[-1] = 50


def test_what_only_one_of_them_ranked_is_left_out():
    for whole, cut in (("tiny", "tiny_bf16"), ("tiny_bf16", "tiny")):
        rankings = [ranked(whole, demote_last), without_last_query(ranked(cut))]
        table = precisions_table(rankings, COMPARED, "sample", RESAMPLING)
        assert table[["n_queries", "n_ranks", "n_changed"]].to_numpy().tolist() == [[8, 20, 0], [7, 16, 0]]
        assert table["mAP"].tolist() == table["mAP_reference"].tolist() == [1, 1]


def test_splits_and_variants_have_rows_of_their_own_and_what_is_not_compared_has_none():
    tuned = [dataclasses.replace(ranked(name), variant="tuned") for name in ("tiny", "tiny_bf16")]
    rankings = [ranked("tiny"), tuned[0], ranked("tiny_bf16"), tuned[1], ranked("color")]
    rankings += [dataclasses.replace(ranking, split="art") for ranking in rankings]
    table = precisions_table(rankings, COMPARED, "sample", RESAMPLING)
    assert list(table[["split", "prompt_type", "variant"]].itertuples(index=False, name=None)) == [
        (split, prompt_type, variant)
        for split in ("zoo", "art")
        for prompt_type in ("object", "gpt")
        for variant in ("pretrained", "tuned")
    ]
    nothing = precisions_table(rankings, [], "sample", RESAMPLING)
    assert nothing.empty and list(nothing) == list(PRECISION_COLUMNS)
