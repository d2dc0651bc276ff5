"""Networks that are folders, as timm and open_clip lay them out: their config and weights count, and faults are named."""

import numpy as np
import pytest
import torch
from attribench.common.errors import InputError
from attribench.extract.extractors import input_of, load_extractor, refuse_unfit
from attribench.extract.registry import ExtractorEntry
from helpers.model_folders import TINY_CLIP, clip_folder, timm_folder, tiny_tower

PREPROCESSING = dict(resize=160, crop=160, interpolation="bicubic", mean=[0.5] * 3, std=[0.5] * 3)


def entry_of(library, model, **settings):
    return ExtractorEntry(library=library, model=model, **settings)


def test_a_folder_states_its_own(tmp_path):
    takes = input_of(entry_of("open_clip", clip_folder(tmp_path / "clip")), tmp_path)
    assert (str(takes.preprocessing), takes.mean[0], takes.std[0]) == ("bilinear-squash64-64", 0.5, 0.25)
    takes = input_of(entry_of("timm", timm_folder(tmp_path / "vit")), tmp_path)
    assert (str(takes.preprocessing), takes.mean[0], takes.std[0]) == ("bilinear-200-160", 0.1, 0.2)
    for make, library in ((clip_folder, "open_clip"), (timm_folder, "timm")):
        nothing = {"preprocess_cfg": None, "mean": None}
        with pytest.raises(InputError, match="cannot be known which preprocessing"):
            input_of(entry_of(library, make(tmp_path / f"{library}-silent", **nothing)), tmp_path)


def test_a_folder_gives_the_network_in_it(tmp_path):
    images = torch.randn(2, 3, 64, 64)
    loaded = load_extractor("mine", entry_of("open_clip", clip_folder(tmp_path / "clip")), tmp_path)
    with torch.no_grad():
        np.testing.assert_array_equal(loaded.module(images), tiny_tower().eval()(images))
    name = timm_folder(tmp_path / "vit")
    loaded = load_extractor("mine", entry_of("timm", name), tmp_path)
    file = {"file": "vit/model.safetensors"}
    assert load_extractor("mine", entry_of("timm", name, pretrained=file), tmp_path).weights == loaded.weights
    assert load_extractor("mine", entry_of("timm", name, pretrained="none"), tmp_path).weights != loaded.weights


FOLDERS = {
    "no folder": (lambda folder: None, "is not a folder"),
    "an empty folder": (lambda folder: folder.mkdir(), "does not exist|no config of"),
    "a config that is none": (
        lambda folder: (folder.mkdir(), (folder / "open_clip_config.json").write_text("[]")),
        "open_clip_config.json: no config of an open_clip model",
    ),
    "a config of other keys": (
        lambda folder: clip_folder(folder, model_cfg={**TINY_CLIP, "vision_cfg": {"image_size": 64, "odd": 1}}),
        "not one of this open_clip's",
    ),
    "no weights": (
        lambda folder: (clip_folder(folder), (folder / "open_clip_model.safetensors").unlink()),
        "expected one checkpoint, such as open_clip_model.safetensors; found none",
    ),
    "a pointer for weights": (
        lambda folder: (
            clip_folder(folder),
            (folder / "open_clip_model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"),
        ),
        "is a pointer of Git LFS",
    ),
}


TIMM_FOLDERS = {
    "a config that is none": ("config.json", "{}", "config.json: no config of a timm model"),
    "an unknown architecture": (
        "config.json",
        '{"architecture": "vit_odd"}',
        "is not one of this timm's|cannot be known",
    ),
    "weights of another network": (
        "config.json",
        '{"architecture": "test_vit2", "pretrained_cfg": {"mean": [0, 0, 0], "std": [1, 1, 1], "num_classes": 1000}}',
        "its checkpoint does not fit its config.json .*Missing key",
    ),
    "a pointer for weights": (
        "model.safetensors",
        "version https://git-lfs.github.com/spec/v1",
        "is a pointer of Git LFS",
    ),
}


@pytest.mark.parametrize(("make", "library"), [(clip_folder, "open_clip"), (timm_folder, "timm")])
def test_a_folder_may_lie_below_a_relative_root(tmp_path, monkeypatch, make, library):
    (tmp_path / "root").mkdir()
    entry = entry_of(library, make(tmp_path / "root/mine"))
    monkeypatch.chdir(tmp_path)
    found, expected = (
        (input_of(entry, root), load_extractor("net", entry, root).weights) for root in ("root", tmp_path / "root")
    )
    assert found == expected
    refuse_unfit("net", entry, "root")


@pytest.mark.parametrize("name", TIMM_FOLDERS)
def test_a_folder_of_timm_with_a_fault_is_refused(tmp_path, name):
    file, content, message = TIMM_FOLDERS[name]
    model = timm_folder(tmp_path / "mine")
    (tmp_path / "mine" / file).write_text(content)
    for settings in ({}, PREPROCESSING):
        with pytest.raises(InputError, match=f"extractor net: .*({message})"):
            refuse_unfit("net", entry_of("timm", model, **settings), tmp_path)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_with_a_fault_is_refused(tmp_path, name):
    make, message = FOLDERS[name]
    make(tmp_path / "mine")
    with pytest.raises(InputError, match=f"extractor mine: .*({message})"):
        load_extractor("mine", entry_of("open_clip", "local-dir:mine"), tmp_path)
