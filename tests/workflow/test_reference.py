"""The reference: the page of targets is in step with the rules, and formats.md has every file, column and dataset."""

import csv
import re
from dataclasses import fields
from itertools import chain

import h5py
import pytest
from attribench.formats.influence import Influence
from attribench.plan.paths import FEATURES, FIGURES, FILES, TABLES
from attribench.tables import influence
from attribench.tune.training import CURVE_COLUMNS
from helpers import target_reference
from helpers.clone import REPOSITORY

FORMATS = (REPOSITORY / "docs/formats.md").read_text()
SECTIONS = FORMATS.split("\n## ")
METRICS = "recall@K…"  # stands for one column of each cut-off
PATTERNS = {**FEATURES, **FILES}


@pytest.mark.workflow
def test_the_page_of_targets_is_in_step_with_the_rules():
    assert target_reference.page(target_reference.rules()) == target_reference.PAGE.read_text(), "run `make schema`"


def section(heading):
    """The section whose heading begins so."""
    [found] = [text for text in SECTIONS if text.startswith(heading)]
    return found


def listed(text):
    """The column names of the first list of them in a text: `a, b, c`."""
    return re.search(r"`([^`]*, [^`]*)`", text)[1].split(", ")


def names_in_table(text):
    """The names in the first column of a section's table."""
    return {name for row in re.findall(r"^\| (\w[^|]*) \|", text, re.MULTILINE) for name in row.split(", ")} - {
        "dataset"
    }


@pytest.mark.parametrize("kind", PATTERNS)
def test_every_kind_of_file_is_described(kind):
    pattern = PATTERNS[kind].replace("{shard}", "IIIII-of-NNNNN").removeprefix("../").replace("{features}", "features")
    names = {
        "{table}": TABLES,
        "{figure}": [*chain.from_iterable(FIGURES.values())],
        "{file}": ["index.html"],
        "{metric}": ["mAP"],
    }
    wildcard = next((word for word in names if word in pattern), "")
    for name in names.get(wildcard, [""]):
        path = re.sub(r"\{(\w+)\}", lambda found: found[1].upper(), pattern.replace(wildcard, name))
        top, last = re.match(r"[^/]+/?", path)[0], path.rpartition("/")[2]
        assert any(top in text and last in text for text in SECTIONS), f"{path} is not in docs/formats.md"


@pytest.mark.workflow
def test_every_column_of_the_tables_is_described_and_no_other(finished):
    rows = dict(re.findall(r"^\| (\w+\.csv) \| (.*) \|$", section("`tables/`"), re.MULTILINE))
    summary = listed(rows["summary.csv"])
    before_metric = summary.index("metric")
    for name in (f"{table}.csv" for table in TABLES):
        if name in ("breakdown.csv", "database_sizes.csv"):
            added = re.findall(r"`(group|level|database_size)`", rows[name])
            expected = [*summary[:before_metric], *added, *summary[before_metric:]]
        elif name == "published.csv":
            added = re.findall(r"`(\w+)`", rows[name])[:3]
            expected = [*listed(FORMATS.split("is yours to fill:")[1]), *added]
        else:
            expected = listed(rows[name])
        assert columns(finished.folder / "results/tables" / name) == expected, name
    assert {"SPLIT.csv", "influence.csv", *(f"{table}.csv" for table in TABLES)} == {*rows}


@pytest.mark.workflow
def test_every_column_of_manifests_and_metrics_is_described_and_no_other(finished):
    results = finished.folder / "results"
    described = names_in_table(section("`manifests/COLLECTION.csv`")) - {"column"}
    assert {*columns(results / "manifests/sample_style.csv")} == described
    left_out = section("`manifests/COLLECTION.csv`").split("leaves out:")[1]
    assert columns(results / "manifests/sample_database.left_out.csv") == listed(left_out)
    of_metrics = listed(section("`metrics/SPLIT").replace("\n", " "))
    found = columns(results / "metrics/sample_style/color/pretrained.csv")
    assert [*dict.fromkeys(METRICS if "recall@" in name else name for name in found)] == of_metrics


@pytest.mark.workflow
def test_every_column_of_the_figures_data_is_described(finished):
    named = set(re.findall(r"\w+", section("Columns of the figures' data")))
    of_tables = set(re.findall(r"[\w@]+", section("`tables/`") + section("`metrics/SPLIT") + section("`mappers/")))
    for path in sorted((finished.folder / "results/plots").glob("*.csv")):
        assert {*columns(path)} <= named | of_tables, path.name


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("heading", "file"),
    [
        ("`features/COLLECTION", "features/sample_style/tiny/00000-of-00001.h5"),
        ("`ranks/SPLIT", "ranks/sample_style/tiny/pretrained.h5"),
    ],
)
def test_every_dataset_and_attribute_is_described_and_no_other_dataset(finished, heading, file):
    text = section(heading)
    with h5py.File(finished.folder / "results" / file) as opened:
        found = []
        opened.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        assert {*found} == names_in_table(text)
        assert {*opened.attrs} <= {*re.findall(r"`(\w+)`", text.split("Attributes:")[1])}


def test_every_column_and_dataset_of_tuning_and_influence_is_described_and_no_other():
    [row] = re.findall(r"^\| influence\.csv \| (.*) \|$", FORMATS, re.MULTILINE)
    assert listed(row) == [*influence.COLUMNS, "label"]
    assert listed(section("`mappers/").split("VARIANT.csv is the learning curve")[1]) == [*CURVE_COLUMNS]
    assert names_in_table(section("`influence/SPLIT")) == {field.name for field in fields(Influence)}


def columns(path):
    with open(path, newline="") as file:
        return next(csv.reader(file))
