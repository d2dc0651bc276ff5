"""The demo knows a run's methods, where its files lie, and what to do about those that are not there."""

import json
import os

import pytest
import yaml
from attribench.common.errors import InputError
from attribench.demo.run import Run, missing_files
from attribench.formats.ranking import Method


def test_methods_and_their_files(finished_demo):
    run = Run([finished_demo], ["plots={labels: {color: colours, tuned: _t_}}"])
    assert run.methods == [Method("tiny", "pretrained"), Method("tiny", "tuned"), Method("color", "pretrained")]
    files = [run.files_of(method) for method in run.methods]
    assert [missing_files(one, "zoo") for one in files] == [[], [], []]
    assert [bool(one.mapper) for one in files] == [False, True, False]
    assert [os.path.basename(one.calibrator) for one in files] == ["pretrained.pth", "tiny_tuned.pth", "pretrained.pth"]
    [line] = run.missing_method_lines
    assert line.endswith("the mapper of colours _t_, is missing.") and "weights/mapper/color_tuned.pth" in line


def test_tuned_variants_take_the_checkpoint_that_the_workflow_makes():
    run = Run(pairs=["root=null"])
    made = run.files_of(Method("efficientnet_lite0", "tuned_linear"))
    assert made.mapper == "results/mappers/efficientnet_lite0/tuned_linear.pth"
    assert made.calibrator == "results/calibrators/efficientnet_lite0/tuned_linear.pth"


def test_commands_have_the_settings_of_the_run(finished_demo):
    assert Run().command() == "make sample"
    run = Run([finished_demo], ["recall_ks=[1, 5]", "influence=false"])
    assert run.command() == (
        f".venv/bin/snakemake --cores all all --configfile {finished_demo} --config 'recall_ks=[1, 5]' influence=false"
    )
    assert run.command(influence="true").endswith("--config 'recall_ks=[1, 5]' influence=true")


def test_an_image_that_is_not_here_comes_with_a_hint(tmp_path):
    abc = Run(pairs=["benchmark=abc", f"root={tmp_path}", f"results={tmp_path}", "database_source=features"])
    hint = abc.hint("dataset/laion_subset/00000/1.jpg", is_database=True)
    assert "-c1 download --config benchmark=abc" in hint and "database_source=images" in hint
    assert "database_source=features" not in hint and "260" in hint and "CC BY-NC-SA" in hint
    assert "split_source=images" in abc.hint("dataset/synth/1.png", is_database=False)
    assert "make sample" in Run().hint("dataset/database/1.png", is_database=True)


def test_an_image_that_nothing_brings_is_expected_at_its_place(finished_demo):
    hint = Run([finished_demo]).hint("others/1.png", is_database=True)
    assert str(finished_demo.parent / "root/others/1.png") in hint


def test_settings_of_nothing_that_is_there_are_refused(tmp_path, finished_demo):
    with pytest.raises(InputError, match="config key root: /nowhere does not exist"):
        Run(pairs=["root=/nowhere"])
    with pytest.raises(InputError, match="unknown value `dinosaur`"):
        Run(pairs=["extractors=[dinosaur]"])
    settings = yaml.safe_load(finished_demo.read_text())
    (tmp_path / ".benchmark.json").write_text(json.dumps({"benchmark": "other", "root": "/elsewhere"}))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings | {"results": str(tmp_path)}))
    with pytest.raises(InputError, match="other"):
        Run([tmp_path / "mine.yaml"])
