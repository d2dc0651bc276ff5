"""Networks whose weights are published come as downloads do; the jobs that use them ask no server."""

import json
import os
import shutil
import subprocess
from collections import Counter

import h5py
import pytest
import timm
from attribench.extract.extractors import load_extractor
from attribench.extract.registry import ExtractorEntry
from helpers.clone import Clone, planned_jobs
from helpers.images import picture
from helpers.model_folders import clip_folder
from helpers.servers import running_site
from safetensors.torch import save

pytestmark = pytest.mark.workflow

SIZES = {"resize": 48, "crop": 48, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3}
NETWORKS = {
    "tagged": {"library": "timm", "model": "test_efficientnet.r160_in1k", **SIZES},
    "mine": {"library": "open_clip", "model": "hf-hub:me/clip"},
    "features": {"features": "feats/{collection}.npy"},  # beside which networks are downloaded too
}
FOLDERS = {"tagged": "weights/hub/timm--test_efficientnet.r160_in1k", "mine": "weights/hub/open_clip--hf-hub--me--clip"}
SHARD = "results/features/mine/{}/00000-of-00001.h5"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "clip"
    clip_folder(folder)
    with running_site() as site:
        site.add("hub/model.safetensors", save(timm.create_model("test_efficientnet").state_dict()))
        for path in folder.iterdir():
            site.add(f"hub/{path.name}", path.read_bytes())
        yield site


@pytest.fixture
def clone(site, tmp_path, monkeypatch):
    """A clone with three photographs, beside a cache of the hub that is empty."""
    site.requests.clear()
    monkeypatch.setenv("HF_ENDPOINT", site.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    root = tmp_path / "clone/resources/photos"
    for seed, path in enumerate(("e/0.png", "q/0.png", "others/0.png")):
        (root / path).parent.mkdir(parents=True)
        picture(60, 70, seed).save(root / path)
    entry = {"exemplar": ["e/0.png"], "synth": {"media": ["q/0.png"]}, "class_id": "0", "category": "a"}
    (root / "mine.json").write_text(json.dumps([entry]))
    photos = {"splits": {"mine": "mine.json"}, "database": {"folder": "others"}, "extractors": ["tagged"]}
    settings = {"benchmark": "photos", "benchmarks": {"photos": photos}, "extractor_registry": NETWORKS}
    download = {"retries": 0, "backoff": 0.01}
    return Clone(tmp_path / "clone", {**settings, "device": "cpu", "download": download})


def root_of(clone):
    return clone.folder / "resources/photos"


def fetched(site):
    """Return the files that were fetched; the hub's client asks an API what it is used by."""
    return [path.rpartition("/")[2] for method, path, *_ in site.requests if method == "GET" and "/api/" not in path]


def weights_of(clone, extractor):
    """Return the digest of the network that the feature shard of an extractor carries."""
    with h5py.File(clone.folder / SHARD.format(extractor)) as file:
        return file.attrs["weights"]


def test_weights_come_once_and_jobs_need_no_server(site, clone, monkeypatch, tmp_path):
    folder, job, shard = FOLDERS["tagged"], "download_timm__test_efficientnet_r160_in1k", SHARD.format("tagged")
    extraction = Counter(manifest=1, decode=1, extract=1)
    plan = clone.run("-n", shard).stdout
    assert plan.splitlines()[-1].split()[:2] == ["timm--test_efficientnet.r160_in1k", "unknown"]
    assert planned_jobs(plan) == extraction + Counter({job: 1}) and site.requests == []
    refused = clone.run("-n", shard, config={"download": "never"}, check=False)
    assert refused.returncode and "are missing; expected all of them, or `download`" in refused.stdout
    address = "https://huggingface.co/timm/test_efficientnet.r160_in1k/resolve/main/model.safetensors"
    by_hand = f"\n  resources/photos/{folder}/model.safetensors  <-  {address}"
    assert by_hand + " (or pytorch_model.bin)\n" in refused.stdout and site.requests == []
    (root_of(clone) / folder).mkdir(parents=True)
    (root_of(clone) / folder / "model.safetensors").write_bytes(b"weights")
    refused = clone.run("-n", shard, config={"download": "never"}, check=False)
    assert refused.returncode and by_hand in refused.stdout
    assert (
        "config key extractor_registry.tagged: " in refused.stdout
        and "not a whole file of safetensors" in refused.stdout
    )
    shutil.rmtree(root_of(clone) / "weights")

    clone.run("download")
    assert fetched(site) == ["model.safetensors"]
    assert "Nothing to be done" in clone.run("download").stdout
    record = (root_of(clone) / ".downloads/timm--test_efficientnet.r160_in1k.csv").read_text()
    assert f"{folder}/model.safetensors," in record

    monkeypatch.setenv("HF_ENDPOINT", NOBODY)
    clone.run(shard, config={"download": "never"})
    network = load_extractor("tagged", ExtractorEntry(**NETWORKS["tagged"]), root_of(clone))
    assert weights_of(clone, "tagged") == network.weights
    shutil.rmtree(root_of(clone) / folder)
    assert clone.planned(None, shard) == Counter(), "the features are there"
    os.rename(clone.folder / shard, tmp_path / "shard")
    assert clone.planned(None, shard) == Counter({job: 1, "decode": 1, "extract": 1})
    os.rename(tmp_path / "shard", clone.folder / shard)
    failed = clone.run("download", check=False)
    assert f"Error in {job}: " in failed.stdout and "HF_ENDPOINT" in failed.stdout and "Traceback" not in failed.stdout
    assert by_hand in failed.stdout, "what to do by hand"

    monkeypatch.setenv("HF_ENDPOINT", site.url)
    clone.run("download")
    assert clone.planned(None, shard) == Counter()
    (root_of(clone) / folder / "model.safetensors").write_bytes(
        save(timm.create_model("test_efficientnet").state_dict())
    )
    assert clone.planned(None, shard) == Counter(decode=1, extract=1), "its content counts"


def test_a_repository_is_planned_by_its_config_and_its_files_may_be_put_there_by_hand(site, clone, monkeypatch):
    """The dry runs are processes of their own, since the hub's client reads its settings once."""
    shard = SHARD.format("mine")

    def planned(**config):
        command = clone.command("-n", shard, config={"extractors": ["mine"], **config})
        return subprocess.run(command, cwd=clone.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    refused = planned(download="never").stdout
    assert "/open_clip_config.json is missing, which states the preprocessing" in refused and fetched(site) == []
    monkeypatch.setenv("HF_ENDPOINT", NOBODY)
    failed = planned().stdout
    assert "Retry" not in failed and "Traceback" not in failed
    addresses = {
        f"resources/photos/{FOLDERS['mine']}/{file}  <-  https://huggingface.co/me/clip/resolve/main/{file}"
        for file in ("open_clip_config.json", "open_clip_model.safetensors")
    }
    for text in (refused, failed):
        assert "or resize, crop, interpolation, mean, std in the extractor's entry, or the network's files, put" in text
        assert all(address in text for address in addresses)
    monkeypatch.setenv("HF_ENDPOINT", site.url)
    assert "download_open_clip__hf_hub__me__clip " in planned().stdout and fetched(site) == ["open_clip_config.json"]

    monkeypatch.setenv("HF_ENDPOINT", NOBODY)
    folder = root_of(clone) / FOLDERS["mine"]
    folder.mkdir(parents=True)
    for file in ("open_clip_config.json", "open_clip_model.safetensors"):
        (folder / file).write_bytes(site.files[f"{site.commit}/{file}"].content)
    mine = {"extractors": ["mine"], "download": "never"}
    clone.run(shard, config=mine)
    assert weights_of(clone, "mine") and clone.planned(mine, shard) == Counter()
    config = folder / "open_clip_config.json"
    config.write_bytes(config.read_bytes() + b" ")
    assert clone.planned(mine, shard) == Counter(decode=1, extract=1), "its content counts"
