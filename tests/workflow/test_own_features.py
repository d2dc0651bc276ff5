"""Features of one's own: the documented example, word for word, and the ways to name the files."""

import re
import subprocess
import sys

import numpy as np
import pytest
from helpers.clone import REPOSITORY, SUMMARY, TINY
from helpers.jobs import NOTHING
from helpers.results import table_rows

pytestmark = pytest.mark.workflow

PAGE = (REPOSITORY / "docs/own_features.md").read_text()
[PROGRAM], [CONFIG], [COMMANDS] = (
    re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL) for kind in ("python", "yaml", "sh")
)


def test_the_example_stands_in_one_table_with_an_extractor_from_images(finished_copy):
    """Word for word, on the tiny images: its config comes after that of the tiny benchmark."""
    clone, finished_copy.targets = finished_copy, SUMMARY
    (clone.folder / "mymethod.py").write_text(PROGRAM)
    (clone.folder / "example.yaml").write_text(CONFIG)
    assert COMMANDS.splitlines() == [
        ".venv/bin/python mymethod.py",
        ".venv/bin/snakemake --cores 8 all --configfile mine.yaml",
    ]
    subprocess.run([sys.executable, "mymethod.py"], cwd=clone.folder, check=True)
    both = ("--configfile", "mine.yaml", "example.yaml")
    planned = clone.planned(None, *both)
    expected = dict(fingerprint=3, import_features=3, rank=2, rank_scores=2, metrics=4)
    assert {rule: planned[rule] for rule in expected} == expected
    assert not planned["extract"] and not planned["decode"] and not planned["manifest"]
    clone.run(*both)
    assert clone.planned(None, *both) == NOTHING
    rows = table_rows(clone, "summary")
    assert {(row["extractor"], row["variant"]) for row in rows} == {
        *[("color", "pretrained"), ("mymethod", "pretrained"), ("myscores", "scores")]
    }
    pairs = {(row["extractor_a"], row["extractor_b"]) for row in table_rows(clone, "comparisons")}
    assert len(pairs) == 3
    # Other features: only they are made anew.
    path = clone.folder / "resources/sample/mymethod.npz"
    with np.load(path) as content:
        np.savez(path, paths=content["paths"], features=content["features"][::-1])
    planned = clone.planned(None, *both)
    assert (
        planned["import_features"] == 3
        and planned["rank"] == 2
        and not planned["extract"]
        and not planned["rank_scores"]
    )
    # No line is needed where the benchmark's entry says where files of features lie.
    lie = {"database": {"features": "{extractor}.npz"}, "split_features": "{extractor}.npz"}
    unnamed = {**TINY, "extractors": ["color", "mymethod"], "benchmarks": {"sample": lie}}
    clone.configure(unnamed)
    assert clone.planned()["import_features"] == 3
    clone.configure({**unnamed, "extractors": ["color", "mymethd"]})
    done = clone.run("-n", check=False)
    assert done.returncode and "unknown value `mymethd`" in done.stdout and "mymethd: {features: FILE}" in done.stdout
