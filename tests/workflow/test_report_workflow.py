"""The page about a run, and Snakemake's own report of it."""

import re
import zipfile
from collections import Counter

import pytest
from attribench.plan.paths import FIGURES, TABLES
from helpers.clone import REPOSITORY, TINY

pytestmark = pytest.mark.workflow


def test_snakemakes_own_report_has_every_table_and_figure(finished, tmp_path):
    finished.run("--report", str(tmp_path / "report.zip"))
    expected = finished.results("tables/*.csv", "tables/latex/*", "plots/*.svg", "report.html")
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        raw = [archive.read(name) for name in archive.namelist() if "/data/raw/" in name]
        [page] = [
            archive.read(name).decode()
            for name in archive.namelist()
            if name.endswith("/report.html") and "raw" not in name
        ]
    assert len(expected) > 25
    assert Counter(raw) == Counter(expected.values())
    assert "Metrics on sample_style by prompt type and method, with 95 % intervals" in page


def test_every_table_and_figure_has_a_caption():
    folder = REPOSITORY / "captions"
    figures = {name for names in FIGURES.values() for name in names} | {"learning_curves"}
    assert figures <= {path.stem for path in (folder / "figures").glob("*.rst")}
    assert {*TABLES, "influence", "split", "paper"} == {path.stem for path in (folder / "tables").glob("*.rst")}


def test_the_page_holds_everything_itself(finished):
    page = (finished.folder / "results/report.html").read_text()
    outside = [
        address for address in re.findall(r'(?:src|href)="([^"]*)"', page) if not address.startswith(("data:", "#"))
    ]
    assert outside == []
    for text in ("Perhaps ", "3 entries are too few for intervals", "sample_style", "Ties count against the exemplar"):
        assert text in page
    key = (finished.folder / "results/.keys/report.html").read_text().split()[0]
    assert f"<dd>{key}</dd>" in page
    assert "unknown: the code does not lie in a clone" in page, "of git"
    assert re.search(r'<th scope="row">color</th>.*<td>float32</td><td>512</td>', page), "what an extractor is"
    assert "This benchmark's images are drawn by a program" in page.replace("&#39;", "'")
    for stage in ("rank", "contact", "tables"):
        assert f'<th scope="row">{stage}</th>' in page, "its run time"


def test_the_page_says_which_settings_are_not_those_that_are_shipped(finished):
    page = (finished.folder / "results/report.html").read_text()
    rows = dict(re.findall(r"<code>([\w.]+)</code></th><td><code>(.*?)</code>", page))
    assert rows["bootstrap.samples"] == "200" and rows["extractors"] == "[tiny, color]"
    assert "bootstrap.seed" not in rows and "recall_ks" not in rows


def test_provenance_makes_nothing_run_again(finished_copy):
    """Other run times, another commit and another device: the page stays as it is until a result changes."""
    for path in (finished_copy.folder / "results/benchmarks").rglob("*.tsv"):
        path.write_text(path.read_text().replace("0:00:", "9:00:"))
    (finished_copy.folder / "README.md").write_text("changed")
    before = (finished_copy.folder / "results/report.html").read_bytes()
    assert finished_copy.planned({"batch_size": 4}) == Counter()
    finished_copy.run()
    assert (finished_copy.folder / "results/report.html").read_bytes() == before
    finished_copy.configure({**TINY, "contact_sheet": {"queries": 1, "neighbours": 4}})
    assert set(finished_copy.planned()) == {"contact", "report"}


def test_a_changed_template_makes_the_page_anew_and_nothing_else(finished_copy):
    template = finished_copy.folder / "workflow_scripts/attribench/report/page.css"
    template.write_text(template.read_text() + "/* changed */")
    assert finished_copy.planned() == Counter(report=1)


def test_the_tables_of_a_paper_are_those_of_the_run(finished):
    written = finished.results("tables/latex/*")
    names = {name.split("/")[-1] for name in written}
    assert names == {f"{m}.{e}" for m in ("mAP", "recall_at_5", "recall_at_10", "recall_at_100") for e in ("md", "tex")}
    assert b"No split has recall@100" in written["tables/latex/recall_at_100.tex"]
    table = written["tables/latex/mAP.md"].decode()
    assert "Each query ranks 20 database images and its own exemplars" in table
    assert "6 queries of 3 entries in each column" in table
    assert len([line for line in table.splitlines() if line.startswith("|")]) == 5
