"""The README: every command runs, every path is there, every example is valid, and its numbers are the sample's."""

import contextlib
import csv
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml
from attribench.demo.attribution import attribute
from attribench.demo.candidates import read_split
from attribench.demo.method import get_ready
from attribench.demo.run import Run, missing_files
from attribench.formats.influence import read_influence
from attribench.formats.rank_file import read_rank_file
from attribench.formats.ranking import Method
from attribench.manifest import read_split_file
from attribench.plan.config import load
from helpers.clone import REPOSITORY, Clone
from helpers.config import DEFAULTS, merged
from helpers.readme_table import TABLES, differences

README = (REPOSITORY / "README.md").read_text()
COMMANDS = [
    line.split(" #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
EXAMPLES = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
# Run in the fresh clone below, or are this very test run.
RUN_ELSEWHERE = ["make sample", "make demo", "make test", ".venv/bin/snakemake --cores 8 all"]


def test_the_commands_are_those_that_are_tested():
    abc = (".venv/bin/snakemake", "--config benchmark=abc")
    assert COMMANDS == [
        "make sample",
        "make demo",
        "make test",
        ".venv/bin/snakemake --cores 8 all",
        ".venv/bin/snakemake --cores 8 all --config extractors=color recall_ks=1,10 results=results_color",
        ".venv/bin/snakemake --cores 8 all --configfile mine.yaml",
        f"{abc[0]} -n {abc[1]}",
        f"{abc[0]} --cores 8 all {abc[1]} database_source=features variants='[pretrained,tuned]'",
        f"{abc[0]} --cores 8 all {abc[1]} root=/data/abc",
        f"{abc[0]} --cores 8 all {abc[1]} root=/data/abc database_source=features split_source=features",
        f"{abc[0]} -c1 download {abc[1]} database_source=features",
        ".venv/bin/snakemake --profile slurm",
    ]
    assert "conda env create -f envs/environment.yaml" in README


@pytest.mark.workflow
@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in RUN_ELSEWHERE])
def test_a_command_plans_its_jobs(tmp_path, command):
    clone = Clone(tmp_path / "clone", {"recall_ks": [1]})
    (clone.folder / ".venv").symlink_to(REPOSITORY / ".venv")
    command = command.replace("/data/abc", str(tmp_path / "abc"))
    for model in ("clip", "dino", "moco", "vit", "sscd"):  # features of splits, which nothing fetches
        (tmp_path / f"abc/feats/{model}").mkdir(parents=True)
        for split in ("artchive", "bamfg", "observed_imagenet", "unobserved_imagenet"):
            (tmp_path / f"abc/feats/{model}/test_{split}.pth").touch()
    done = subprocess.run(f"{command} -n", shell=True, cwd=clone.folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Job stats:" in done.stdout


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_config_example_is_valid(example):
    config = load(merged(DEFAULTS, yaml.safe_load(example)))
    assert set(config.extractors) <= set(config.extractor_registry)


def test_the_split_file_example_is_a_split_file(tmp_path):
    (tmp_path / "mine.json").write_text(re.search(r"```json\n(.*?)```", README, re.DOTALL)[1])
    roles = Counter(row.role for row in read_split_file(tmp_path / "mine.json"))
    assert roles == {"exemplar": 1, "query": 3}


def named_paths():
    """Every path in the README's text: the targets of its links, and what it sets in code type with a slash or an ending."""
    text = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    linked = re.findall(r"\]\(([^)]+)\)", text)
    quoted = re.findall(r"`([\w.\-/]+(?:/|\.(?:csv|md|yaml|smk|json)))`", text)
    return sorted({*linked, *quoted})


# The reader's own; what is there during a run only; what `all` does not make; what goes with tuned variants and influence.
NOT_IN_A_TINY_RUN = (
    *("mine.yaml", "results/pixels/", "results/trec/", "results/mappers/", "results/overlap/"),
    *(
        "results/calibrators/",
        "results/influence/",
        "results/histograms/",
        "results/tables/influence.csv",
        "influence.csv",
    ),
)


@pytest.mark.workflow
def test_every_path_is_there(finished):
    for name in named_paths():
        if name in NOT_IN_A_TINY_RUN:
            continue
        if "STAGE" in name:
            assert (REPOSITORY / name.replace("STAGE", "rank")).exists(), name
            continue
        folders = (REPOSITORY, REPOSITORY / "tests/data/abc-mini", finished.folder, finished.folder / "results/tables")
        assert any((folder / name).exists() for folder in folders), name


@pytest.mark.parametrize("rule", sorted(path.stem for path in (REPOSITORY / "rules").glob("*.smk")))
def test_a_stage_is_found_by_its_name_in_three_places(rule):
    if rule in ("common", "rerun"):
        return
    library = REPOSITORY / "workflow_scripts/attribench"
    assert (REPOSITORY / f"workflow_scripts/{rule}.py").exists()
    assert (library / f"{rule}.py").exists() or (library / rule / "__init__.py").exists()
    table = re.search(r"\| stage \|.*?\n\n", README, re.DOTALL)[0]
    assert re.search(rf"^\| (\w+, )?{rule}(, \w+)? \|", table, re.MULTILINE), f"{rule} is not in the README's table"


@pytest.mark.workflow
def test_a_newcomers_first_commands(tmp_path):
    """A fresh clone: `make sample`, the tables, and nothing left to do. What .venv is made of is here already."""
    clone = Clone(tmp_path / "clone", {})
    (clone.folder / ".venv").symlink_to(REPOSITORY / ".venv")
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    made = subprocess.run(
        ["make", "sample"], cwd=clone.folder, capture_output=True, text=True, timeout=1800, env=environment
    )
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
    assert "Tables: results/tables/" in made.stdout
    again = subprocess.run(
        [".venv/bin/snakemake", "--cores", "8", "all"], cwd=clone.folder, capture_output=True, text=True, timeout=120
    )
    assert "Nothing to be done" in again.stdout + again.stderr
    summary = clone.folder / "results/tables/summary.csv"
    check_floors(summary)
    for document in TABLES:
        found = differences(document, summary.parent)
        assert not found, f"{document}: run tests/helpers/readme_table.py after `make sample`: {found}"
    assert_tuned_is_better(summary.with_name("comparisons.csv"))
    assert_the_demo_has_the_runs_influence(clone)


def check_floors(summary: Path) -> None:
    """The network's interval lies above each floor's, for mAP of every split and prompt type."""
    with open(summary, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "mAP"]
    of_network = [row for row in rows if row["extractor"] == "efficientnet_lite0" and row["variant"] == "pretrained"]
    network = {(row["split"], row["prompt_type"]): row for row in of_network}
    floors = [row for row in rows if row["extractor"] != "efficientnet_lite0"]
    assert (len(network), len(floors)) == (4, 8)
    for floor in floors:
        above = network[floor["split"], floor["prompt_type"]]
        assert float(above["ci_low"]) > float(floor["ci_high"]), (above, floor)
        assert float(above["value"]) < 0.9, "no extractor is perfect"


def assert_tuned_is_better(comparisons: Path) -> None:
    """The interval of what the linear head gains in mAP is above zero, in every split and prompt type."""
    with open(comparisons, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "mAP"]
    pairs = [(r["variant_a"], r["variant_b"], r) for r in rows if r["extractor_a"] == r["extractor_b"]]
    gains = [float(row["ci_high"]) for a, b, row in pairs if (a, b) == ("pretrained", "tuned_linear")]
    assert len(gains) == 4 and max(gains) < 0, gains


def assert_the_demo_has_the_runs_influence(clone: Clone) -> None:
    """As far as the histograms of scores say, which the run adds up (docs/methods.md, "Sums")."""
    method, split = Method("efficientnet_lite0", "tuned_linear"), "sample_object"
    with contextlib.chdir(clone.folder):
        files = Run().files_of(method)
        assert not missing_files(files, split)
        ready, queries = get_ready(files, 2, lambda share: None), read_split(files.splits[split], files.database)
        ranking = read_rank_file(f"results/ranks/{split}/{method.extractor}/{method.variant}.h5")
        influence = read_influence(f"results/influence/{split}/{method.extractor}/{method.variant}.h5", ranking)
        for query in range(0, len(ranking.query_path), 40):
            answer = attribute(queries.query(ranking.query_path[query]), ready, influence.top.shape[1])
            assert [one.rank for one in answer.own] == ranking.ranks[ranking.pairs(query)].tolist()
            assert [one.influence for one in answer.first] == pytest.approx(influence.top[query], rel=1.2e-4)
