"""Published networks as sources: what the plan knows of them, and which files their job takes, from where."""

import hashlib
import io
import re

import pytest
import timm
import torch
from attribench.common.errors import InputError
from attribench.download.choice import Downloads, network_sources
from attribench.download.download import download
from attribench.download.networks import network_source
from attribench.download.table import DownloadSettings
from attribench.extract.extractors import load_extractor, refuse_unfit
from attribench.extract.hub import cached, network_folder, network_name, refuse_other_file, refuse_other_files
from attribench.extract.registry import ExtractorEntry
from attribench.provenance.fingerprints import read_record
from helpers.servers import COMMIT, running_site
from safetensors.torch import save

SIZES = {"resize": 48, "crop": 48, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3}
TAGGED = ExtractorEntry(library="timm", model="test_efficientnet.r160_in1k", **SIZES)
NAMES = {
    "timm--resnet50.a1_in1k": {"library": "timm", "model": "resnet50.a1_in1k"},
    "timm--hf-hub--me--vit@v1": {"library": "timm", "model": "hf-hub:me/vit@v1"},
    "timm--hf-hub--me--vit--config": {"library": "timm", "model": "hf-hub:me/vit", "pretrained": "none"},
    "open_clip--ViT-B-32--laion400m_e32": {"library": "open_clip", "model": "ViT-B-32", "pretrained": "laion400m_e32"},
    None: {"library": "timm", "model": "local-dir:mine"},
}


@pytest.fixture
def site(monkeypatch, tmp_path):
    with running_site() as site:
        monkeypatch.setenv("HF_ENDPOINT", site.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        yield site


def weights():
    return save(timm.create_model("test_efficientnet").state_dict())


def torch_file():
    memory = io.BytesIO()
    torch.save(timm.create_model("test_efficientnet").state_dict(), memory)
    return memory.getvalue()


def fetch(root, entry, **mirrors):
    """Download the entry's network into `root`, and return its folder."""
    settings = DownloadSettings(retries=0, backoff=0, timeout=10, expansion=2, keep_archives=False, mirrors=mirrors)
    name = network_name(entry)
    source = network_source(name, "any", [entry], root, settings)
    download(root, [(name, source)], source.provides, "token", settings)
    return root / network_folder(entry)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_named_by_its_model_and_weights(name):
    entry = ExtractorEntry(**NAMES[name])
    assert network_name(entry) == name and list(network_sources("any", {"a": entry, "b": entry})) == [name] * (
        name is not None
    )


@pytest.mark.parametrize("pretrained", ["none", {"file": "weights/mine.pth"}])
def test_weights_that_are_none_or_a_file_are_not_downloaded(pretrained):
    assert network_name(ExtractorEntry(library="timm", model="resnet50", pretrained=pretrained)) is None


@pytest.mark.parametrize("model", ["hf-hub:resnet50", "hf-hub:a/b/c", "hf-hub:../b"])
def test_a_repository_has_an_owner_and_a_name(model):
    with pytest.raises(
        ValueError, match=f"expected `model: hf-hub:OWNER/NAME` or hf-hub:OWNER/NAME@REVISION, found {model}"
    ):
        ExtractorEntry(library="timm", model=model)


def test_the_usual_file_comes_and_else_the_other_one(site, tmp_path):
    site.add("hub/pytorch_model.bin", torch_file())
    assert [path.name for path in fetch(tmp_path / "a", TAGGED).iterdir()] == ["pytorch_model.bin"]
    site.add("hub/model.safetensors", weights())
    assert [path.name for path in fetch(tmp_path / "b", TAGGED).iterdir()] == ["model.safetensors"]
    record = read_record(tmp_path / "b/.downloads/timm--test_efficientnet.r160_in1k.csv")
    assert list(record.fingerprints) == ["weights/hub/timm--test_efficientnet.r160_in1k/model.safetensors"]


def test_what_the_cache_of_the_hub_has_is_taken_without_a_request(site, tmp_path):
    repository = tmp_path / "cache/models--timm--test_efficientnet.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(COMMIT)
    copy = repository / "snapshots" / COMMIT / "model.safetensors"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(weights())
    folder = fetch(tmp_path, TAGGED)
    assert site.requests == [] and (folder / "model.safetensors").read_bytes() == copy.read_bytes()

    (folder / "model.safetensors").unlink()
    site.add("hub/model.safetensors", copy.read_bytes())
    copy.write_bytes(b"other")
    fetch(tmp_path, TAGGED)
    assert (folder / "model.safetensors").read_bytes() == site.files[f"{COMMIT}/model.safetensors"].content


def test_all_files_are_of_the_commit_that_the_cache_has(site, tmp_path):
    repository, commit = tmp_path / "cache/models--me--vit", "a" * 40
    for file, content in {"refs/main": commit, f"snapshots/{commit}/config.json": "{}"}.items():
        (repository / file).parent.mkdir(parents=True)
        (repository / file).write_text(content)
    entry = ExtractorEntry(library="timm", model="hf-hub:me/vit", **SIZES)
    settings = DownloadSettings(retries=0, backoff=0, timeout=10, expansion=2, keep_archives=False, mirrors={})
    source = network_source(network_name(entry), "any", [entry], tmp_path, settings)
    assert source.revision == commit and source.files[0] == "config.json"


def test_weights_at_an_address_come_from_a_mirror(site, tmp_path):
    entry = ExtractorEntry(library="timm", model="vit_huge_patch14_gap_224.in1k_ijepa")
    mirrors = {"https://dl.fbaipublicfiles.com/": f"{site.url}/"}
    # An answer that is no file of weights is not taken for one, nor noted as what has to come ever after.
    site.add("/ijepa/IN1K-vit.h.14-300e.pth.tar", b'{"error": "quota exceeded"}')
    message = r"^timm--.*IN1K-vit.h.14-300e.pth.tar: not a whole checkpoint; .*; it was removed$"
    with pytest.raises(InputError, match=message):
        fetch(tmp_path, entry, **mirrors)
    content = torch_file()
    site.add("/ijepa/IN1K-vit.h.14-300e.pth.tar", content)
    folder = fetch(tmp_path, entry, **mirrors)
    assert (folder / "IN1K-vit.h.14-300e.pth.tar").read_bytes() == content


def test_a_checkpoint_has_the_digest_that_its_name_states(tmp_path):
    content = torch_file()
    path = tmp_path / f"resnet-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    path.write_bytes(content)
    refuse_other_file(path)
    path.write_bytes(content.replace(b"conv", b"vnoc"))
    with pytest.raises(
        InputError, match=rf"{path}: SHA-256 is .*; expected one that begins with {path.stem[-8:]}, as its"
    ):
        refuse_other_file(path)


@pytest.mark.parametrize("digest", ["sha256", "git"])
def test_a_damaged_copy_in_the_cache_of_the_hub_is_refused(tmp_path, monkeypatch, digest):
    """There, a file is called by its digest, and a link by its name."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    repository, content = tmp_path / "cache/models--me--vit", b'{"mean": [0.1, 0.2, 0.3]}'
    git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    blob = repository / "blobs" / (git if digest == "git" else hashlib.sha256(content).hexdigest())
    copy = repository / "snapshots" / COMMIT / "config.json"
    for folder in (blob.parent, copy.parent, repository / "refs"):
        folder.mkdir(parents=True)
    (repository / "refs/main").write_text(COMMIT)
    blob.write_bytes(content)
    copy.symlink_to(blob)
    assert cached("me/vit", "config.json", "main") == copy
    blob.write_bytes(content.replace(b"1", b"9"))
    with pytest.raises(InputError, match=f"config.json: damaged in the cache .*; remove it, .*: rm {blob} {copy}$"):
        cached("me/vit", "config.json", "main")


def test_a_model_without_published_weights_is_refused(tmp_path):
    with pytest.raises(InputError, match="timm has no weights of it"):
        fetch(tmp_path, ExtractorEntry(library="timm", model="vit_base_patch16_18x2_224"))


def test_a_repository_whose_config_is_not_beside_its_weights_is_refused(site, tmp_path):
    entry = ExtractorEntry(library="timm", model="hf-hub:me/vit", **SIZES)
    folder = tmp_path / network_folder(entry)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights())
    with pytest.raises(InputError, match=r"timm--hf-hub--me--vit: has no config.json; remove the folder"):
        load_extractor("x", entry, tmp_path)
    assert site.requests == []


def test_without_its_files_a_network_says_what_brings_them(site, tmp_path):
    with pytest.raises(
        InputError, match=f"extractor x: {tmp_path}.*not there; expected what `snakemake -c1 download` brings"
    ):
        load_extractor("x", TAGGED, tmp_path)
    (tmp_path / network_folder(TAGGED)).mkdir(parents=True)
    (tmp_path / network_folder(TAGGED) / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(
        InputError, match="a pointer of Git LFS.*; remove the folder, and `snakemake -c1 download` brings it"
    ):
        load_extractor("x", TAGGED, tmp_path)
    assert site.requests == []


# What lies in the folder of a network, and what is said of it before anything runs.
BY_HAND = {
    "text in place of weights": (
        {"model.safetensors": b"weights"},
        "model.safetensors: not a whole file of safetensors",
    ),
    "half of the weights": ({"model.safetensors": None}, "model.safetensors: not a whole file of safetensors"),
    "text in place of torch's": ({"pytorch_model.bin": b"weights"}, "pytorch_model.bin: not a whole checkpoint"),
    "nothing": ({"model.safetensors": b""}, "model.safetensors: is empty"),
    "two checkpoints": (
        {"a.pth": b"", "b.pth": b""},
        "expected one checkpoint, such as model.safetensors; found a.pth, b.pth; remove",
    ),
    "none": (
        {"readme.txt": b"See the hub."},
        "such as model.safetensors; found none, but readme.txt; remove the folder",
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_files_put_there_by_hand_are_looked_at_first_and_what_belongs_there_is_said(site, tmp_path, name):
    files, message = BY_HAND[name]
    folder = tmp_path / network_folder(TAGGED)
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_bytes(weights()[:-100] if content is None else content)
    address = "https://huggingface.co/timm/test_efficientnet.r160_in1k/resolve/main/model.safetensors"
    line = f"\n  {folder}/model.safetensors  <-  {address} (or pytorch_model.bin)"
    with pytest.raises(InputError, match=f"{message}.*by hand, what belongs there is{re.escape(line)}$"):
        refuse_other_files(TAGGED, tmp_path)
    assert site.requests == []


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin", "old.pth"])
def test_files_of_all_forms_of_weights_may_be_put_there_by_hand(tmp_path, file):
    folder = tmp_path / network_folder(TAGGED)
    folder.mkdir(parents=True)
    tensors = timm.create_model("test_efficientnet").state_dict()
    if file.endswith(".safetensors"):
        (folder / file).write_bytes(weights())
    else:
        torch.save(tensors, folder / file, _use_new_zipfile_serialization=file != "old.pth")
    refuse_other_files(TAGGED, tmp_path)
    refuse_unfit("x", TAGGED, tmp_path)


def test_weights_of_another_network_are_refused_before_anything_is_decoded(tmp_path):
    folder = tmp_path / network_folder(TAGGED)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(save(timm.create_model("test_vit").state_dict()))
    refuse_other_files(TAGGED, tmp_path)
    with pytest.raises(InputError, match=f"{folder}/model.safetensors: does not fit {TAGGED.model} ") as error:
        refuse_unfit("x", TAGGED, tmp_path)
    assert "config.json" not in str(error.value)


def test_other_files_of_a_network_have_another_token(site, tmp_path):
    site.add("hub/model.safetensors", weights())
    folder = fetch(tmp_path, TAGGED)
    path = network_folder(TAGGED)

    def token():
        return Downloads(str(tmp_path), network_sources("any", {"a": TAGGED})).file_token(path)

    before = token()
    assert before and before == token()
    (folder / "pytorch_model.bin").write_bytes(b"one more")
    assert token() is None
