"""TREC runs and qrels of the tiny sample benchmark: made when asked for, and scored by another's code."""

import itertools
import shutil
from collections import Counter

import pytest
from attribench.formats.rank_file import read_rank_file
from helpers.clone import TINY
from helpers.jobs import jobs
from helpers.trec import check_scores

pytestmark = pytest.mark.workflow


def test_the_workflow_exports_every_method_when_asked(finished_copy):
    clone, results = finished_copy, finished_copy.folder / "results"
    assert not (results / "trec").exists(), "`all` does not make it"
    clone.run("trec")
    splits = ("sample_style", "sample_object")
    for split, extractor in itertools.product(splits, TINY["extractors"]):
        ranking = read_rank_file(results / f"ranks/{split}/{extractor}/pretrained.h5")
        run = results / f"trec/{split}/{extractor}/pretrained.run"
        check_scores(results / f"trec/{split}.qrels", run, ranking)
    assert len(list((results / "trec").glob("*/*/*.run"))) == len(splits) * len(TINY["extractors"])
    check_what_runs_again(clone)


def check_what_runs_again(clone):
    assert clone.planned(None, "trec") == Counter()
    assert clone.planned({"recall_ks": [1]}, "trec") == Counter()
    assert clone.planned({"top_k": 7}, "trec") == jobs("rank", trec=1)
    assert clone.planned({"extractors": ["color"]}, "trec") == Counter(trec=1)
    module = clone.folder / "workflow_scripts/attribench/trec.py"
    module.write_text(module.read_text() + "\n# changed\n")
    assert clone.planned(None, "trec") == Counter(trec=1)
    shutil.rmtree(clone.folder / ".snakemake")
    refused = clone.run("-n", "trec", check=False)
    assert refused.returncode != 0
    assert "results/trec/sample_style.qrels (key" in refused.stdout
