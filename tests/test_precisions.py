"""Precisions held against each other: the extractors that it takes, the table, and the workflow."""

import csv
import dataclasses
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from attribench import tables
from attribench.config import load
from attribench.metrics import query_table
from attribench.plan import Plan
from attribench.precisions import PRECISION_COLUMNS, precisions_table
from attribench.shards import feature_shard
from clone import TINY
from test_config import REPOSITORY, changed
from test_tables import RESAMPLING, rank_file
from test_workflow import cosines, rows

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
    about = {
        "benchmark": "abc",
        "root": str(tmp_path),
        "variants": ["pretrained", "tuned"],
        "extractors": ["clip", "moco"],
    }
    alone, plan = (
        Plan(load(changed(**about, compare_precisions=wanted)), REPOSITORY / "workflow_scripts")
        for wanted in ([], ["bf16"])
    )
    assert plan.given_paths == alone.given_paths
    assert set(plan.preprocessing.values()) == set(alone.preprocessing.values())
    assert plan.weights_paths("moco_bf16") == plan.weights_paths("moco")
    assert plan.mapper_paths("moco_bf16", "tuned") == ["weights/mapper/moco_tuned.pth"]


def ranked(extractor, change=None):
    """8 queries a prompt type, all of whose exemplars come first; `change` alters ranks, exemplars, or both, in place.

    A query's exemplars are rows of `exemplar_path`: of entry 0 the row 0, of entry 1 the rows 1 and 2, …
    """
    content = rank_file(extractor, 0, sizes=())
    ranking = content.ranking
    m = np.arange(1, 5)[content.query_entry]
    within = np.concatenate([np.arange(n) for n in m])
    exemplar = np.repeat(np.array([0, 1, 3, 6])[content.query_entry], m) + within
    ranks = within + 1
    if change:
        change(ranking.offsets, ranks, exemplar)
    ranking = dataclasses.replace(ranking, ranks=ranks, exemplar=exemplar)
    return dataclasses.replace(content, ranking=ranking)


def demote_and_swap(offsets, ranks, exemplar):
    """Of prompt type gpt: of query 2 (entry 0) the exemplar falls to rank 7, of query 6 (entry 1) the two change places."""
    ranks[offsets[2]] = 7
    exemplar[offsets[6] : offsets[7]] = exemplar[offsets[6] : offsets[7]][::-1].copy()


def test_the_table_in_hand_worked_numbers():
    files = [ranked("tiny"), ranked("tiny_bf16", demote_and_swap)]
    table = precisions_table(files, COMPARED, "sample", RESAMPLING)
    assert list(table) == list(PRECISION_COLUMNS)
    assert table[list(PRECISION_COLUMNS[:7])].to_numpy().tolist() == [
        ["sample", "zoo", prompt_type, "tiny", "pretrained", "bf16", "float32"] for prompt_type in ("object", "gpt")
    ]
    names = ["n_queries", "n_entries", "n_ranks", "n_changed", "share_changed", "median_change", "largest_change"]
    assert table[names].to_numpy().tolist() == [[8, 4, 20, 0, 0, 0, 0], [8, 4, 20, 3, 0.15, 0, 6]]
    assert table["mAP_reference"].tolist() == [1, 1]
    assert table["mAP"].tolist() == pytest.approx([1, (7 + 1 / 7) / 8], abs=1e-15)
    assert table["difference"].tolist() == pytest.approx([0, -6 / 7 / 8], abs=1e-15)
    assert table.loc[0, ["ci_low", "ci_high"]].tolist() == [0, 0]


def shift(offsets, ranks, exemplar):
    """Every query's exemplars fall by up to 4 ranks, and come in another order."""
    rng = np.random.default_rng(0)
    for first, stop in pairwise(offsets):
        ranks[first:stop] += rng.integers(0, 5)
        exemplar[first:stop] = rng.permutation(exemplar[first:stop])


def test_every_exemplar_is_held_against_itself():
    content, reference = ranked("tiny_bf16", shift), ranked("tiny")
    found = {}
    for name, ranking in (("own", content.ranking), ("reference", reference.ranking)):
        for query, prompt_type in enumerate(content.query_prompt_type):
            for row in range(ranking.offsets[query], ranking.offsets[query + 1]):
                found.setdefault((prompt_type, query, ranking.exemplar[row]), {})[name] = ranking.ranks[row]
    table = precisions_table([content, reference], COMPARED, "sample", RESAMPLING).set_index("prompt_type")
    for prompt_type in ("object", "gpt"):
        changes = [abs(r["own"] - r["reference"]) for (p, *_), r in found.items() if p == prompt_type]
        assert 0 < np.median(changes) < max(changes), "made so that every column says something"
        numbers = (len(changes), np.count_nonzero(changes), np.median(changes), max(changes))
        names = ["n_ranks", "n_changed", "median_change", "largest_change"]
        assert tuple(table.loc[prompt_type, names]) == numbers


def test_the_difference_is_that_of_the_comparisons():
    files = [ranked("tiny_bf16", shift), ranked("tiny")]
    methods = {(f.split, f.extractor, f.variant): query_table(f, [5]) for f in files}
    comparisons = tables.comparisons_table(methods, "sample", [5], RESAMPLING)
    expected = comparisons[comparisons["metric"] == "mAP"]
    found = precisions_table(files, COMPARED, "sample", RESAMPLING)
    for name in ("difference", "ci_low", "ci_high", "n_queries", "n_entries"):
        assert found[name].tolist() == expected[name].tolist(), name
    assert (found["ci_low"] < found["difference"]).all() and (found["difference"] < found["ci_high"]).all()


def without_last_query(content):
    ranking, kept = content.ranking, content.ranking.offsets[-2]
    offsets, valid = ranking.offsets.copy(), ranking.query_valid.copy()
    offsets[-1], valid[-1] = kept, False
    parts = {name: getattr(ranking, name)[:kept] for name in ("ranks", "scores", "exemplar")}
    return dataclasses.replace(
        content, ranking=dataclasses.replace(ranking, offsets=offsets, query_valid=valid, **parts)
    )


def demote_last(offsets, ranks, exemplar):
    """The last exemplar of the last query (entry 3, gpt) falls to rank 50."""
    ranks[-1] = 50


def test_what_only_one_of_them_ranked_is_left_out():
    for whole, cut in (("tiny", "tiny_bf16"), ("tiny_bf16", "tiny")):
        files = [ranked(whole, demote_last), without_last_query(ranked(cut))]
        table = precisions_table(files, COMPARED, "sample", RESAMPLING)
        assert table[["n_queries", "n_ranks", "n_changed"]].to_numpy().tolist() == [[8, 20, 0], [7, 16, 0]]
        assert table["mAP"].tolist() == table["mAP_reference"].tolist() == [1, 1]


def test_splits_and_variants_have_rows_of_their_own_and_what_is_not_compared_has_none():
    tuned = [dataclasses.replace(ranked(name), variant="tuned") for name in ("tiny", "tiny_bf16")]
    files = [ranked("tiny"), tuned[0], ranked("tiny_bf16"), tuned[1], ranked("color")]
    files += [dataclasses.replace(content, split="art") for content in files]
    table = precisions_table(files, COMPARED, "sample", RESAMPLING)
    assert list(table[["split", "prompt_type", "variant"]].itertuples(index=False, name=None)) == [
        (split, prompt_type, variant)
        for split in ("zoo", "art")
        for prompt_type in ("object", "gpt")
        for variant in ("pretrained", "tuned")
    ]
    nothing = precisions_table(files, [], "sample", RESAMPLING)
    assert nothing.empty and list(nothing) == list(PRECISION_COLUMNS)


def exemplar_ranks(images, score):
    """By query and exemplar (rows of `images`): the rank, from scores of all with all images and then the database."""
    ranks = {}
    for row, image in enumerate(images):
        if image["role"] == "query":
            own = [
                i for i, other in enumerate(images) if other["role"] == "exemplar" and other["entry"] == image["entry"]
            ]
            own.sort(key=lambda i: -score[row, i])
            above = [int((score[row, len(images) :] >= score[row, i] - 1e-9).sum()) for i in own]
            ranks |= {(row, i): n + 1 + count for n, (i, count) in enumerate(zip(own, above, strict=True))}
    return ranks


@pytest.mark.workflow
def test_the_workflow_compares_precisions(finished_copy):
    """Added, it runs what is new; the table holds what the features say; and taken away again, it runs the results."""
    results, split = finished_copy.folder / "results", "sample_style"
    settings = {**TINY, "splits": [split]}
    finished_copy.configure({**settings, "compare_precisions": ["bf16"]})
    after = Counter(tables=1, plots=1, contact=1)
    assert finished_copy.planned() == after + Counter(decode=2, extract=2, rank=1, metrics=1)
    finished_copy.run()
    for name, precision in (("tiny", "float32"), ("tiny_bf16", "bf16"), ("color", "float32")):
        with feature_shard(results / f"features/sample_database/{name}/00000-of-00001.h5") as shard:
            assert (shard.identity.extractor, shard.identity.precision) == (name, precision)

    (images, score), (_, own_score) = (cosines(finished_copy, split, name) for name in ("tiny", "tiny_bf16"))
    assert np.abs(own_score - score).max() > 0
    reference, own = exemplar_ranks(images, score), exemplar_ranks(images, own_score)
    table = rows(finished_copy, "precisions")
    assert [(row["prompt_type"], row["extractor"], row["precision"], row["reference"]) for row in table] == [
        (prompt_type, "tiny", "bf16", "float32") for prompt_type in ("object", "gpt")
    ]
    for row in table:
        changes = [abs(own[q, e] - reference[q, e]) for q, e in own if images[q]["prompt_type"] == row["prompt_type"]]
        found = [int(row[name]) for name in ("n_ranks", "n_changed", "largest_change")]
        assert found == [len(changes), np.count_nonzero(changes), max(changes)]
        assert float(row["median_change"]) == np.median(changes)

    def of(name, **about):
        with open(results / f"tables/{name}.csv", newline="") as file:
            return [row for row in csv.DictReader(file) if about.items() <= row.items()]

    for row in table:
        about = {"prompt_type": row["prompt_type"], "metric": "mAP"}
        mean = {e: of("summary", extractor=e, **about)[0]["value"] for e in ("tiny", "tiny_bf16")}
        assert [row["mAP_reference"], row["mAP"]] == [mean["tiny"], mean["tiny_bf16"]]
        (pair,) = of("comparisons", extractor_a="tiny", extractor_b="tiny_bf16", **about)
        assert float(pair["difference"]) == -float(row["difference"])

    finished_copy.configure(settings)
    assert finished_copy.planned() == after
