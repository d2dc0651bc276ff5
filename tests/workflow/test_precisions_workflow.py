"""Precisions in the tiny sample benchmark: added, compared, and taken away again."""

from collections import Counter

import numpy as np
import pytest
from attribench.formats.shards import open_feature_shard
from helpers.clone import SUMMARY, TINY
from helpers.results import cosines, table_rows

pytestmark = pytest.mark.workflow


def exemplar_ranks(images, score):
    """Return the rank by query and exemplar (rows of `images`), from scores of all with all images and then the database."""
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


def test_the_workflow_compares_precisions(finished_copy):
    """Added, it runs what is new; the table holds what the features say; and taken away again, it runs the results."""
    results, split, finished_copy.targets = finished_copy.folder / "results", "sample_style", SUMMARY
    settings = {**TINY, "splits": [split]}
    finished_copy.configure({**settings, "compare_precisions": ["bf16"]})
    after = Counter(tables=1)
    assert finished_copy.planned() == after + Counter(decode=2, extract=2, rank=1, metrics=1)
    finished_copy.run()
    for name, precision in (("tiny", "float32"), ("tiny_bf16", "bf16"), ("color", "float32")):
        with open_feature_shard(results / f"features/sample_database/{name}/00000-of-00001.h5") as shard:
            assert (shard.identity.extractor, shard.identity.precision) == (name, precision)

    (images, score), (_, own_score) = (cosines(finished_copy, split, name) for name in ("tiny", "tiny_bf16"))
    assert np.abs(own_score - score).max() > 0
    reference, own = exemplar_ranks(images, score), exemplar_ranks(images, own_score)
    table = table_rows(finished_copy, "precisions")
    assert [(row["prompt_type"], row["extractor"], row["precision"], row["reference"]) for row in table] == [
        (prompt_type, "tiny", "bf16", "float32") for prompt_type in ("object", "gpt")
    ]
    for row in table:
        changes = [abs(own[q, e] - reference[q, e]) for q, e in own if images[q]["prompt_type"] == row["prompt_type"]]
        found = [int(row[name]) for name in ("n_ranks", "n_changed", "largest_change")]
        assert found == [len(changes), np.count_nonzero(changes), max(changes)]
        assert float(row["median_change"]) == np.median(changes)

    for row in table:
        names = {"prompt_type": row["prompt_type"], "metric": "mAP"}
        mean = {
            e: table_rows(finished_copy, "summary", extractor=e, **names)[0]["value"] for e in ("tiny", "tiny_bf16")
        }
        assert [row["mAP_reference"], row["mAP"]] == [mean["tiny"], mean["tiny_bf16"]]
        pair = {"extractor_a": "tiny", "extractor_b": "tiny_bf16"}
        (compared,) = table_rows(finished_copy, "comparisons", **pair, **names)
        assert float(compared["difference"]) == -float(row["difference"])

    finished_copy.configure(settings)
    assert finished_copy.planned() == after
