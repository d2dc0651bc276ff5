"""The whole workflow on the tiny sample benchmark, in clones of the repository."""

import os
import shutil
import signal
import subprocess
import time
from collections import Counter

import numpy as np
import pytest
from attribench.metrics import all_metrics, read_query_table
from attribench.plan import paths
from helpers.clone import SUMMARY, TINY, Clone
from helpers.results import cosines, table_rows

pytestmark = pytest.mark.workflow

TABLES = [
    *("breakdown", "comparisons", "database_sizes", "invalid_images", "left_out", "missing_variants"),
    *("near_duplicates", "precisions", "published", "sample_object", "sample_style", "summary"),
]


# Those that are always drawn.
FIGURES = [name for names in paths.FIGURES.values() for name in names if name not in ("sizes", "variants", "influence")]
SPLITS = ("sample_style", "sample_object")
FIGURE = "results/plots/sample_style_metrics.csv"


def test_a_run_makes_every_table_and_figure(finished):
    found = finished.results("tables/*.csv", "plots/*")
    assert [name for name in sorted(found) if name.startswith("tables")] == [f"tables/{name}.csv" for name in TABLES]
    figures = [f"plots/{s}_{f}" for s in ("sample_object", "sample_style") for f in FIGURES]
    expected = {f"{figure}.{ending}" for figure in figures for ending in ("csv", "pdf", "png", "svg", "txt")}
    assert {name for name in found if name.startswith("plots")} == expected
    assert all(found.values())


def test_summary_has_a_row_for_everything_in_the_contracts_columns(finished):
    summary = table_rows(finished, "summary")
    contract = ["benchmark", "split", "prompt_type", "extractor", "variant", "metric", "value", "ci_low", "ci_high"]
    assert list(summary[0])[:11] == [*contract, "n_queries", "n_entries"]
    found = {(r["split"], r["prompt_type"], r["extractor"], r["metric"]) for r in summary}
    prompts = {"sample_style": ["object", "gpt"], "sample_object": ["media", "gpt"]}
    metrics = [
        metric.name for metric in all_metrics([5, 10])
    ]  # of 20 images and exemplars, all are among the first 100
    assert found == {(s, p, e, m) for s in prompts for p in prompts[s] for e in TINY["extractors"] for m in metrics}
    assert len(summary) == len(found)
    for row in summary:
        assert (row["ci_low"], row["ci_high"], row["note"]) == ("", "", "no interval: fewer than 6 entries")
        assert row["label"] == row["extractor"]
        assert 0 < float(row["chance"]) <= float(row["ceiling"]) <= 1
        assert (row["n_queries"], row["n_entries"], row["n_invalid"]) == ("6", "3", "0")


def test_what_tables_leave_out_is_said(finished):
    log = (finished.folder / "results/logs/tables.log").read_text()
    for split in SPLITS:
        line = next(line for line in log.splitlines() if f"{split}: recall@100" in line)
        assert "left out of tables and figures, because a query has only 21 candidates" in line


def test_labels_stand_in_tables_and_figures_and_re_run_no_dear_stage(finished_copy):
    entries = TINY["extractor_registry"]
    labels = {"tiny": {**entries["tiny"], "label": "Tiny, untrained"}, "color": entries["color"]}
    finished_copy.configure({**TINY, "extractor_registry": labels})
    before, finished_copy.targets = finished_copy.results("tables/sample_*.csv"), (*SUMMARY, FIGURE)
    finished_copy.run()
    assert {row["label"] for row in table_rows(finished_copy, "summary")} == {"Tiny, untrained", "color"}
    assert {row["label_a"] for row in table_rows(finished_copy, "comparisons")} == {"Tiny, untrained"}
    assert finished_copy.results("tables/sample_*.csv") == before
    figure = (finished_copy.folder / FIGURE).read_text()
    assert "Tiny, untrained" in figure and "_pretrained" not in figure


def test_split_tables_have_the_published_columns(finished):
    table = table_rows(finished, "sample_object")
    columns = [f"{p}-{m}" for p in ("media", "gpt") for m in ("recall@5", "recall@10", "mAP")]
    assert list(table[0]) == ["name", "feature", *columns]
    assert [row["name"] for row in table] == ["color_pretrained", "tiny_pretrained"]


def average_precision_with_hard_negatives(images, score, row):
    """Return that of the query in `row`, from scores with the split's images and then the database."""
    roles = np.array([image["role"] == "exemplar" for image in images])
    own = roles & np.array([image["entry"] == images[row]["entry"] for image in images])
    others = np.concatenate([score[row, : len(images)][roles & ~own], score[row, len(images) :]])
    exemplars = np.sort(score[row, : len(images)][own])[::-1]
    ranks = [i + 1 + (others >= exemplars[i] - 1e-9).sum() for i in range(len(exemplars))]
    return np.mean([(i + 1) / rank for i, rank in enumerate(ranks)])


def queries(clone):
    """The rows of the metrics of `color`, by split."""
    metrics = clone.folder / "results/metrics"
    return {split: read_query_table(metrics / split / "color/pretrained.csv") for split in SPLITS}


def test_sizes_hard_negatives_and_near_duplicates(finished_copy):
    settings = {**TINY, "extractors": ["color"]}
    finished_copy.targets = (*SUMMARY, *(f"results/plots/{split}_sizes.png" for split in SPLITS))
    plain = queries(finished_copy)
    finished_copy.configure({**settings, "database_sizes": [12, 5], "near_duplicates": 0.3})
    finished_copy.run()
    assert all((finished_copy.folder / f"results/plots/{split}_sizes.png").exists() for split in SPLITS)
    sizes, summary = table_rows(finished_copy, "database_sizes"), table_rows(finished_copy, "summary")
    assert {row["database_size"] for row in sizes} == {"5", "12", "20"}
    assert at_size(sizes, "20") == summary

    near = table_rows(finished_copy, "near_duplicates")
    for split in SPLITS:
        images, score = cosines(finished_copy, split)
        score = np.where([[image["role"] == "exemplar"] for image in images], score[:, len(images) :], -1.0)
        kept = np.sort(score, axis=1)[:, -10:]  # top_k of each exemplar
        expected = kept[kept >= np.quantile(kept[kept > -1], 0.3, method="higher")]
        found = [float(row["similarity"]) for row in near if row["split"] == split]
        assert len(found) and found == sorted(found, reverse=True)
        np.testing.assert_allclose(found, np.sort(expected)[::-1], rtol=0, atol=1e-12)

    finished_copy.targets = SUMMARY
    finished_copy.configure({**settings, "database_limit": 12})
    finished_copy.run("results/tables/summary.csv")
    assert table_rows(finished_copy, "summary") == at_size(sizes, "12")
    finished_copy.configure({**settings, "database_sizes": [5], "hard_negatives": True})
    finished_copy.run("results/tables/database_sizes.csv")
    for split, table in queries(finished_copy).items():
        images, score = cosines(finished_copy, split)
        n_exemplars = sum(image["role"] == "exemplar" for image in images)
        assert table["n_candidates"].tolist() == [20 + n_exemplars] * len(table)
        assert (table["AP"] <= plain[split]["AP"]).all() and table["AP"].mean() < plain[split]["AP"].mean()
        expected = [
            average_precision_with_hard_negatives(images, score, row)
            for row, image in enumerate(images)
            if image["role"] == "query"
        ]
        np.testing.assert_allclose(table["AP"], expected, rtol=0, atol=1e-12)
    at_5 = at_size(sizes, "5")
    assert {row["metric"] for row in at_5} == {"recall@5", "mAP"}
    hard_at_5 = [
        row for row in at_size(table_rows(finished_copy, "database_sizes"), "5") if row["metric"] != "recall@10"
    ]
    for hard, easy in zip(hard_at_5, at_5, strict=True):
        assert float(hard["value"]) <= float(easy["value"])
        if hard["metric"] == "mAP":
            assert float(hard["chance"]) < float(easy["chance"])


def at_size(sizes, size):
    """The rows of `size` of database_sizes.csv, as rows of summary.csv."""
    return [
        {name: value for name, value in row.items() if name != "database_size"}
        for row in sizes
        if row["database_size"] == size
    ]


def test_a_second_run_has_nothing_to_do(finished):
    assert finished.planned() == Counter()
    assert "Nothing to be done" in finished.run().stdout


def test_no_pixels_are_left(finished):
    assert not list((finished.folder / "results" / "pixels").rglob("*.h5"))


def kill_when_made(clone, pattern, how=signal.SIGKILL, results="results"):
    """Start a run, and once it has made a file below `results` that matches `pattern`, end it and all its jobs.

    As a power cut would (SIGKILL), or Ctrl-C at a terminal (SIGINT).
    """
    started = time.time()
    command, silent = clone.command("--cores", "2"), subprocess.DEVNULL
    process = subprocess.Popen(
        command,
        cwd=clone.folder,
        stdout=silent,
        stderr=silent,
        start_new_session=True,
        # Tests that a shell started in the background ignore Ctrl-C, and so would their child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not any(path.stat().st_mtime > started for path in (clone.folder / results).glob(pattern)):
        assert process.poll() is None and time.time() < started + 300, f"no {pattern} was made"
        time.sleep(0.02)
    os.killpg(process.pid, how)
    assert process.wait(timeout=60) != 0


def test_neither_kills_nor_other_shards_change_a_byte(finished, tmp_path):
    """Cut into other shards, begun, interrupted, begun again, killed, then left alone: the same tables, plots, gallery."""
    clone = Clone(tmp_path / "clone", {**TINY, "database_shards": 3, "split_shards": 2, "results": "elsewhere"})
    for pattern, how in (("manifests/*.csv", signal.SIGINT), ("features/*/*/*.h5", signal.SIGKILL)):
        kill_when_made(clone, pattern, how, "elsewhere")
        assert clone.planned(), "the run ended before it was killed"
    clone.run()
    assert len(list((clone.folder / "elsewhere/features/sample_database/tiny").glob("*.h5"))) == 3
    assert clone.planned() == Counter()
    (clone.folder / "elsewhere").rename(clone.folder / "results")
    assert clone.tables() == finished.tables()
    pictures = ("plots/*", "gallery/*", "gallery/*/data.js", "gallery/*/thumbnails/*/*.webp")
    assert len(finished.results(pictures[-1])) > 20
    assert clone.results(*pictures) == finished.results(*pictures)


def test_a_killed_change_of_settings_ends_as_an_unbroken_one(finished_copy):
    """Products of the old and the new settings lie side by side when the run is killed."""
    before, finished_copy.targets = finished_copy.tables(), SUMMARY
    finished_copy.configure({**TINY, "top_k": 5, "recall_ks": [1, 5]})
    for pattern in ("ranks/*/*/*.h5", "metrics/*/*/*.csv"):
        kill_when_made(finished_copy, pattern)
    finished_copy.configure(TINY)
    finished_copy.run()
    assert finished_copy.tables() == before
    assert finished_copy.planned() == Counter()


def test_it_runs_from_another_folder(tmp_path):
    clone, elsewhere = Clone(tmp_path / "clone", TINY), tmp_path / "elsewhere"
    planned = clone.planned()
    elsewhere.mkdir()
    shutil.copy(clone.folder / "mine.yaml", elsewhere)
    assert Clone(elsewhere, open_only=True).planned(None, "-s", str(clone.folder / "Snakefile")) == planned
    assert clone.planned(None, "--directory", str(tmp_path / "new")) == planned
    manifest = "results/manifests/sample_style.csv"
    Clone(elsewhere, open_only=True).run("-s", str(clone.folder / "Snakefile"), "--", manifest)
    assert (elsewhere / manifest).exists() and not (clone.folder / "results").exists()


def test_a_bad_config_is_refused_before_any_job(tmp_path):
    clone = Clone(tmp_path / "clone", TINY)
    for key in ("root", "results", "features"):  # as of a variable that is not set
        done = clone.run("-n", "--config", f"{key}=", check=False)
        assert done.returncode != 0 and f"config key {key} is empty" in done.stdout and "Traceback" not in done.stdout
    for config, expected in (
        ({"extractors": ["colour"]}, "unknown value `colour`; did you mean `color`?"),
        ({"recal_ks": [1]}, "unknown key `recal_ks`; did you mean `recall_ks`?"),
        (
            {"root": str(tmp_path / "clome")},
            "clome does not exist; expected a folder that is there; did you mean `clone`?",
        ),
    ):
        done = clone.run(config=config, check=False)
        assert done.returncode != 0
        assert expected in done.stdout
        assert "Traceback" not in done.stdout and ".smk" not in done.stdout, "of the message alone"
        assert not (clone.folder / "results").exists()
