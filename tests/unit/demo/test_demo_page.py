"""The page says why it has no answer. (tests/browser/test_demo.py has what it shows where it has one.)"""

import os
import shutil
import subprocess
import sys

import pytest
from attribench.demo.page import _message, _plain
from helpers.clone import REPOSITORY
from streamlit.testing.v1 import AppTest


@pytest.fixture
def page(finished_demo, monkeypatch):
    """Return a function that runs the page with pairs KEY=VALUE, after a working config file."""

    def run(*pairs, choose=None):
        monkeypatch.setattr("sys.argv", ["demo.py", "--configfile", str(finished_demo), "--config", *pairs])
        monkeypatch.chdir(REPOSITORY)
        page = AppTest.from_file(str(REPOSITORY / "workflow_scripts/demo.py"), default_timeout=60)
        for key, value in (choose or {}).items():
            page.query_params[key] = value
        page.run()
        assert not page.exception, page.exception
        return page

    return run


def texts(elements):
    return " ".join(element.value for element in elements)


def test_missing_results_are_named_with_the_command_that_makes_them(page, tmp_path, finished_demo):
    (tmp_path / "results").mkdir()
    shown = page(f"results={tmp_path / 'results'}")
    assert "manifests/photos_database.csv" in texts(shown.info) and "and 5 more" in texts(shown.info)
    assert f"snakemake --cores all all --configfile {finished_demo}" in texts(shown.code)


def test_without_influence_it_says_how_to_get_some(page):
    shown = page("influence=false")
    assert "Influence is off, so these are scores alone" in texts(shown.info)
    assert any(code.value.endswith("--config influence=true") for code in shown.code)
    assert [header.value for header in shown.subheader] == ["Images by score", "Ranking"]


def test_without_influence_it_says_what_the_config_lacks_for_it(page):
    shown = page("influence=false", "calibration_splits=null")
    assert "there is nothing to calibrate the influence of variant pretrained on" in texts(shown.info)


def test_methods_of_scores_alone_cannot_be_chosen(page):
    registry = "score_registry={unlearn: s.h5}"
    shown = page("extractors=[]", "score_methods=[unlearn]", registry, "influence=false", "variants=[pretrained]")
    assert _plain("unlearn gives scores of a split's queries") in texts(shown.error)


def test_images_that_are_not_on_this_disk_are_named_with_a_hint(page, tmp_path, finished_demo):
    shutil.copy(finished_demo.parent / "root/zoo.json", tmp_path)
    shown = page(f"root={tmp_path}", choose={"images": "8"})
    hint = _plain("8 of these 8 images are not on this disk, or not readable.")
    [text] = [element.value for element in shown.markdown if hint in element.value]
    assert _plain(f"Expected at {tmp_path}/") in text


def test_rows_that_are_gone_or_cut_are_made_anew(page, tmp_path, finished_demo):
    shutil.copytree(finished_demo.parent / "results", tmp_path / "results")
    shown = page(f"results={tmp_path / 'results'}")
    for damage in (shutil.rmtree, lambda folder: os.truncate(folder / "tiny/pretrained/rows.f32", 100)):
        damage(tmp_path / "results/demo")
        shown.run()
        assert not shown.exception and not shown.error
        assert [header.value for header in shown.subheader] == ["Images by influence", "Ranking"]


def test_a_results_folder_that_cannot_be_written_is_named(page, tmp_path, finished_demo):
    shutil.copytree(finished_demo.parent / "results", tmp_path / "results", ignore=shutil.ignore_patterns("demo"))
    (tmp_path / "results/demo").write_text("a file in the place of the folder")
    assert _plain("results/demo") in texts(page(f"results={tmp_path / 'results'}").error)


def test_settings_that_are_not_valid_are_named(page):
    assert r"`recall_ks`\: found \'x\'" in texts(page("recall_ks=x").error)


def test_a_link_to_what_is_not_there_is_said_to_be_lost(page):
    shown = page("top_k=10", choose={"method": "cl_ip", "images": "20"})
    assert texts(shown.warning) == r"The link asks for what this run does not have: method cl\_ip."
    assert shown.slider(key="images").value == 20


def test_make_demo_passes_on_what_it_is_given():
    command = [
        "make",
        "-n",
        "--no-print-directory",
        "demo",
        "CONFIG=mine.yaml",
        "SETTINGS=benchmark=abc root=/data",
        "PORT=9000",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    script, settings = "workflow_scripts/demo.py", "--configfile mine.yaml --config benchmark=abc root=/data"
    assert done.stdout.splitlines()[-2:] == [
        f".venv/bin/python {script} {settings}",
        f".venv/bin/streamlit run {script} --server.address localhost --server.port 9000 -- {settings}",
    ]


def test_settings_that_are_not_valid_are_said_before_the_server_starts(tmp_path):
    def checked(*words):
        command = [sys.executable, "workflow_scripts/demo.py", *words]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)

    for words, message in (
        (["--configfile", "nofile.yaml"], "nofile.yaml: the config file does not exist"),
        (["--config", "root=null", "extractors=[dinosaur]"], "unknown value `dinosaur`"),
    ):
        done = checked(*words)
        assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    assert checked("--config", "root=null", f"results={tmp_path}").returncode == 0


@pytest.mark.parametrize("text, shown", [("a_b: [x](y) <z>", r"a\_b\: \[x\]\(y\) \<z\>"), ("1\n2", "1  \n2")])
def test_text_is_shown_as_it_is(text, shown):
    assert _plain(text) == shown


def test_menus_and_headings_call_a_method_by_its_label_as_it_is(page):
    label = "_b_ 100% $x$ tuned"
    shown = page("plots={labels: {tiny: _b_ 100% $x$}}", choose={"method": label})
    assert shown.selectbox(key="method").value == label
    assert shown.main.header[0].value == r"\_b\_ 100\% \$x\$ tuned"


def test_code_in_messages_has_no_backslashes():
    assert _message("a_b: run `make x_y` or `z") == r"a\_b\: run `make x_y` or \`z"
