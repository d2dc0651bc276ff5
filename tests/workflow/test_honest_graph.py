"""Check that what Snakemake tells about the graph is true, before a run and after it; and telling it changes no byte."""

import hashlib
import re
import shutil

import pytest
from helpers.clone import TINY, Clone
from helpers.jobs import NOTHING, WHOLE, jobs, jobs_from

pytestmark = pytest.mark.workflow

# rule -> the rules whose products it reads, in a run of the rendered sample benchmark. Manifests stand for images.
READS = {
    "sample": set(),
    "manifest": {"sample"},
    "decode": {"manifest"},
    "extract": {"manifest", "decode"},
    "rank": {"manifest", "extract"},
    "metrics": {"rank"},
    "tables": {"metrics", "rank", "manifest"},
    "paper_tables": {"tables", "rank"},
    "plots": {"tables", "rank"},
    "contact": {"rank", "manifest", "sample"},
    "gallery_split": {"rank", "manifest", "sample"},
    "gallery": {"gallery_split"},
    "report": {"tables", "plots", "contact", "rank", "manifest"},
}


def tree(folder):
    """The digest of every file below `folder`, and every link and folder."""
    paths = [path for path in sorted(folder.rglob("*")) if "__pycache__" not in path.parts]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder" for path in paths}


def edges(dot):
    """The edges of a graph in DOT, between the nodes' first words: those that a node depends on, by node."""
    names = dict(re.findall(r'^\s*(\d+)\s*\[.*?label\s*=\s*"(\w+)', dot, re.MULTILINE))
    found = {name: set() for name in names.values()}
    for source, target in re.findall(r"^\s*(\d+)\s*->\s*(\d+)", dot, re.MULTILINE):
        found[names[target]].add(names[source])
    return found


@pytest.mark.parametrize("state", ["fresh", "finished", "changed", "broken"])
def test_a_dry_run_changes_no_byte(finished, tmp_path, state):
    """The project, `results` and `resources` are hashed; Snakemake's own folder is there in a finished clone, and counts."""
    if state == "fresh":
        clone = Clone(tmp_path / "clone", TINY)
    else:
        clone = Clone(tmp_path / "clone", copy_from=finished)
        # Snakemake's cache of time stamps for its next start, which any start uses up.
        shutil.rmtree(clone.folder / ".snakemake/iocache", ignore_errors=True)
    if state == "changed":
        image = next((clone.folder / "resources/sample/dataset/database").rglob("*.jpg"))
        image.touch()
        clone.configure({**TINY, "top_k": 7})
    if state == "broken":
        (clone.folder / "results/tables/summary.csv").unlink()
        (clone.folder / "results/manifests/sample_style.csv").write_text("path\n")
    before = tree(clone.folder)
    clone.run("-n", check=state != "broken")
    clone.run("--rulegraph", "dot", check=state != "broken")
    after = tree(clone.folder)
    new = {path for path in set(after) - set(before) if ".snakemake" not in path.relative_to(clone.folder).parts}
    assert not new and {path: after.get(path) for path in before} == before


@pytest.mark.parametrize("state", ["fresh", "finished"])
def test_the_graphs_have_an_edge_wherever_a_file_is_read(finished, tmp_path, state):
    clone = Clone(tmp_path / "clone", TINY) if state == "fresh" else finished
    for graph in ("--rulegraph", "--dag"):
        found = edges(clone.run(graph, "dot").stdout)
        assert {rule for rule in found if rule != "all"} == set(READS)
        assert {rule: found[rule] for rule in READS} == READS


def test_a_summary_lists_every_product_as_it_is(finished):
    lines = finished.run("--summary").stdout.splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith("output_file\t"))
    rows = [
        dict(zip(lines[header].split("\t"), line.split("\t"), strict=True))
        for line in lines[header + 1 :]
        if "\t" in line
    ]
    listed = {row["output_file"]: row for row in rows}
    there = {
        str(path.relative_to(finished.folder)) for path in (finished.folder / "results").rglob("*") if path.is_file()
    }
    kept = {path for path in there if path.split("/")[1] not in ("logs", "benchmarks") and "/.keys/" not in path}
    kept -= {path for path in kept if path.endswith("/.benchmark.json")}  # says whose results these are
    folders = [path for path in listed if (finished.folder / path).is_dir()]
    kept -= {path for path in kept if path.startswith(tuple(f"{folder}/" for folder in folders))}
    assert kept <= set(listed)
    assert {row["plan"] for row in rows if row["output_file"] in kept} == {"no update"}
    assert {row["status"] for row in rows if row["output_file"] in kept} == {"ok"}


# A forced stage takes those with it that read what it makes; but for manifests, and for tables that are drawn, for which it
# counts whether their content changed. Tables list what manifests leave out, and the report has run times.
FORCED = {
    "manifest": jobs("manifest", "tables", "report"),
    "extract": jobs_from("extract"),
    "rank": jobs_from("rank"),
    "gallery_split": jobs("gallery_split", "gallery"),
    "metrics": jobs("metrics", "tables", "report"),
    "contact": jobs("contact", "report"),
    "results/metrics/sample_style/tiny/pretrained.csv": jobs("tables", "report", metrics=1),
}


@pytest.mark.parametrize(("target", "expected"), FORCED.items())
def test_what_a_forced_stage_or_file_takes_with_it(finished, target, expected):
    assert finished.planned(None, "-R", target) == expected


def test_a_fresh_clone_plans_the_whole_and_a_finished_one_nothing(finished, tmp_path):
    assert Clone(tmp_path / "clone", TINY).planned() == WHOLE
    assert finished.planned() == NOTHING
