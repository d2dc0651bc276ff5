"""The README and the pages of how-to: commands run, paths are there, examples are valid, and numbers are the sample's."""

import contextlib
import csv
import os
import re
import shlex
import subprocess
import sys
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
from helpers.clone import REPOSITORY, Clone, server
from helpers.config import DEFAULTS, merged
from helpers.readme_table import TABLES, differences

README = (REPOSITORY / "README.md").read_text()
PAGES = {
    name: (REPOSITORY / name).read_text()
    for name in ("README.md", *(f"docs/{page}.md" for page in ("tutorial", "configuring", "models", "tuning", "slurm")))
}


def commands_of(text):
    """The commands that a page tells to paste, without their comments."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def saved_files(text):
    """The files that a page tells to save, by name."""
    return dict(re.findall(r"Save this as `([\w.]+)`:\n\n```\w+\n(.*?)```", text, re.DOTALL))


COMMANDS = {name: commands_of(text) for name, text in PAGES.items()}
# A dry run has the plan of the run. What `make sample` has made is run again in the fresh clone below.
PLANNED = {
    command.replace(" -n ", " --cores 8 all ")
    for commands in COMMANDS.values()
    for command in commands
    if command.startswith(".venv/bin/snakemake")
} - {".venv/bin/snakemake --cores 8 all"}
EXAMPLES = [text for page in PAGES.values() for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]


def test_every_command_of_a_page_is_of_a_kind_that_is_tested():
    first = ["make sample", "make demo", "make test", ".venv/bin/snakemake --cores 8 all"]
    assert COMMANDS["README.md"][:4] == first
    makefile = (REPOSITORY / "Makefile").read_text()
    for name, commands in COMMANDS.items():
        assert commands, name
        for command in commands:
            program, first = command.split()[:2]
            if program == "make":
                assert f"\n{first}:" in makefile, command
            elif program == ".venv/bin/python":
                assert first in saved_files(PAGES[name]), command
            else:
                assert program == ".venv/bin/snakemake", command
    assert sum("benchmark=abc" in command for command in PLANNED) == 5
    assert "conda env create -f envs/environment.yaml" in PAGES["docs/slurm.md"]


@pytest.mark.workflow
@pytest.mark.parametrize("command", sorted(PLANNED))
def test_a_command_plans_its_jobs(tmp_path, command):
    clone = Clone(tmp_path / "clone", {"recall_ks": [1]})
    for name, text in saved_files(PAGES["docs/tutorial.md"]).items():
        (clone.folder / name).write_text(text)
    if "photos" in command:
        subprocess.run([sys.executable, "photos.py"], cwd=clone.folder, check=True)
    for model in ("clip", "dino", "moco", "vit", "sscd"):  # features of splits, which nothing fetches
        (tmp_path / f"abc/feats/{model}").mkdir(parents=True)
        for split in ("artchive", "bamfg", "observed_imagenet", "unobserved_imagenet"):
            (tmp_path / f"abc/feats/{model}/test_{split}.pth").touch()
    arguments = shlex.split(command.replace("/data/abc", str(tmp_path / "abc")))[1:]
    done = server().run([*arguments, "-n"], clone.folder, dict(os.environ), 120)
    assert done.returncode == 0, done.stdout
    assert "Job stats:" in done.stdout


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_config_example_is_valid(example):
    config = load(merged(DEFAULTS, yaml.safe_load(example)))
    assert set(config.extractors) <= set(config.extractor_registry)


def test_the_split_file_example_is_a_split_file(tmp_path):
    (tmp_path / "mine.json").write_text(re.search(r"```json\n(.*?)```", PAGES["docs/tutorial.md"], re.DOTALL)[1])
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
