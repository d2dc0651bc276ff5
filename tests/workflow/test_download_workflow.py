"""The workflow with files that are not there: what it needs comes, once; with the data in place nothing is fetched."""

import io
import json
import os
import shutil
from collections import Counter

import numpy as np
import pytest
from helpers.archives import make_volumes, tar_of
from helpers.clone import SUMMARY, Clone
from helpers.servers import running_site
from PIL import Image

pytestmark = pytest.mark.workflow

RESULTS = dict(rank=1, metrics=1, tables=1)
SPLIT = dict(manifest=1, decode=1, extract=1)
FEATURES = dict(manifest=1, fingerprint=1, import_features=1)
ORIGINAL = "https://example.invalid/files/"
TINY = {
    "library": "timm",
    "model": "test_efficientnet",
    "pretrained": {"file": "weights/tiny.pth"},
    "resize": 48,
    "crop": 48,
    "interpolation": "bicubic",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
}


def row(kind, files, provides, **more):
    origin = {"repo": "some/data"} if kind == "hub" else {"url": ORIGINAL}
    texts = {"benchmark": "small", "licence": "none", "unlocks": "a test"}
    return {"kind": kind, "files": files, "provides": provides, **origin, **texts, **more}


SOURCES = {
    "splits": row("hub", ["json/made.json"], ["dataset/json/made.json"], size=500),
    "images": row("http", [f"it.7z.{i:03d}" for i in (1, 2)], ["dataset/exemplar/", "dataset/synth/"], unpack="7z"),
    "feats": row("http", ["feats.tar"], ["feats/tiny/database.npz"], unpack="tar", size=60_000),
    "weights": row("http", ["weights.tar.gz"], ["weights/tiny.pth", "weights/other.pth"], unpack="tar"),
    "database": row("http", ["database.tar"], ["dataset/database/"], unpack="tar", size=260_000_000_000),
}
SETTINGS = {
    "benchmark": "small",
    "benchmarks": {
        "small": {
            "splits": {"made": "dataset/json/made.json"},
            "split_folders": ["dataset/exemplar", "dataset/synth"],
            "database": {"folder": "dataset/database", "features": "feats/{extractor}/database.npz"},
            "extractors": ["tiny"],
        }
    },
    "database_source": "features",
    "extractor_registry": {"tiny": TINY},
    "device": "cpu",
    "bootstrap": {"samples": 100},
    "contact_sheet": {"queries": 1, "neighbours": 2},
    "gallery": {"queries": 1, "neighbours": 2},
    "sources": SOURCES,
}


def image(seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 48, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def serve(site, folder):
    """Put the small benchmark on the site; the images lie in a folder of another name, as in the published archives."""
    import timm
    import torch

    exemplars, queries = [f"exemplar/{i}.png" for i in range(2)], [f"synth/{i}.png" for i in range(4)]
    entries = [
        {"exemplar": [f"dataset/{exemplars[i]}"], "synth": {"gpt": [f"dataset/{q}" for q in queries[2 * i : 2 * i + 2]]},
         "class_id": str(i), "category": None}
        for i in range(2)
    ]  # fmt: skip
    site.add("hub/json/made.json", json.dumps(entries).encode(), lfs=False)
    images = {f"top/{path}": image(seed) for seed, path in enumerate(exemplars + queries)}
    for path in make_volumes(folder, images, size=30_000):
        site.add(f"/{path.name}", path.read_bytes(), faults=["cut", 503])
    network = timm.create_model("test_efficientnet", pretrained=False)
    features, paths = io.BytesIO(), np.array([f"dataset/database/{i}.png" for i in range(20)])
    values = np.random.default_rng(9).normal(size=(20, network.num_features)).astype(np.float32)
    np.savez(features, features=values, paths=paths)
    site.add("/feats.tar", tar_of({"feats/tiny/database.npz": features.getvalue()}, "w"))
    checkpoint = io.BytesIO()
    torch.save(network.state_dict(), checkpoint)
    site.add("/weights.tar.gz", tar_of({"tiny.pth": checkpoint.getvalue()}))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with running_site() as site, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", site.url)
        serve(site, tmp_path_factory.mktemp("archives"))
        yield site


def settings(site, **more):
    download = {"retries": 2, "backoff": 0.01, "timeout": 10, "mirrors": {ORIGINAL: f"{site.url}/"}}
    return {**SETTINGS, "download": download, **more}


@pytest.fixture(scope="module")
def downloaded(site, tmp_path_factory):
    """A clone in which all has been downloaded and run, and the output of the dry run before."""
    clone = Clone(tmp_path_factory.mktemp("downloaded") / "clone", settings(site), targets=SUMMARY)
    plan = clone.run("-n").stdout
    asked = len(site.requests)
    planned = clone.planned()
    clone.run(timeout=300)
    return clone, plan, asked, planned


@pytest.fixture
def clone(site, downloaded, tmp_path):
    """A copy of it, for one test alone, with the count of what was asked set to none."""
    site.requests.clear()
    return Clone(tmp_path / "clone", copy_from=downloaded[0])


def downloads(*sources):
    """Return the jobs that download `sources`: one each."""
    return Counter({f"download_{source}": 1 for source in sources})


def fetched(site):
    """Return the paths of all files that the site was asked for."""
    return [path for method, path, *_ in site.requests if method == "GET" and not path.startswith("/api")]


def root_of(clone):
    return clone.folder / "resources/small"


def test_a_dry_run_shows_jobs_and_downloads_and_fetches_nothing(downloaded):
    _, plan, asked, planned = downloaded
    both = Counter(SPLIT) + Counter(FEATURES) + Counter(RESULTS)
    assert planned == both + downloads("feats", "splits", "images", "weights")
    assert asked == 0
    last = [line.split()[0] for line in plan.splitlines()[-5:]]
    assert (last[0], {*last[1:]}) == ("download", {"feats", "splits", "images", "weights"}), "it ends with their table"
    assert "hub some/data" in plan and ORIGINAL in plan and "60.0 kB" in plan


def test_it_comes_to_its_place_and_the_rest_is_not_fetched(downloaded):
    clone = downloaded[0]
    files = {str(path.relative_to(root_of(clone))) for path in root_of(clone).rglob("*") if path.is_file()}
    # Into each folder that a job makes, Snakemake puts a file with the time.
    given = {path for path in files if not path.startswith(".downloads") and not path.endswith("/.snakemake_timestamp")}
    assert given == {
        "dataset/json/made.json", "feats/tiny/database.npz", "weights/tiny.pth",
        *(f"dataset/exemplar/{i}.png" for i in range(2)), *(f"dataset/synth/{i}.png" for i in range(4)),
    }  # fmt: skip
    assert (clone.folder / "results/tables/made.csv").exists()
    assert "100%" in (clone.folder / "results/logs/download/images.log").read_text()


def test_afterwards_there_is_nothing_to_be_done(site, clone):
    assert clone.planned() == Counter()
    assert "Nothing to be done" in clone.run().stdout
    assert "Nothing to be done" in clone.run("download").stdout
    assert fetched(site) == []


def test_another_address_re_runs_nothing(site, clone):
    moved = {
        name: {**row, **({"url": "http://127.0.0.1:9/x/"} if "url" in row else {})} for name, row in SOURCES.items()
    }
    clone.configure(settings(site, sources=moved))
    assert clone.planned() == Counter()


def test_what_is_deleted_comes_again_where_it_is_needed_and_re_runs_nothing_else(site, clone):
    before = clone.results("features/made/*/*.h5")
    (root_of(clone) / "weights/tiny.pth").unlink()
    assert clone.planned() == Counter(), "the features are there"
    shutil.rmtree(clone.folder / "results/features/made")
    assert clone.planned() == Counter(), "and the tables too"
    assert clone.planned(None, "features") == downloads("weights") + Counter(decode=1, extract=1, features=1)
    clone.run("features")
    assert fetched(site) == ["/weights.tar.gz"]
    assert clone.results("features/made/*/*.h5") == before
    assert clone.planned() == Counter()


def test_the_named_target_fetches_what_the_config_needs(site, clone):
    (root_of(clone) / "feats/tiny/database.npz").unlink()
    shutil.rmtree(root_of(clone) / "dataset/synth")
    assert clone.planned(None, "download") == downloads("feats", "images") + Counter(download=1)
    clone.run("download")
    assert sorted(fetched(site)) == ["/feats.tar", "/it.7z.001", "/it.7z.002"]
    assert clone.planned() == Counter()


def test_an_interrupted_download_is_ended_though_its_files_are_there(site, clone):
    """As after a kill between the last rename and the record."""
    (root_of(clone) / ".downloads/images.csv").unlink()
    (root_of(clone) / ".downloads/images").mkdir()
    assert clone.planned(None, "download") == downloads("images") + Counter(download=1)
    clone.run("download")
    assert fetched(site) == []
    assert not (root_of(clone) / ".downloads/images").exists()
    assert clone.planned() == Counter()


def test_a_forced_download_touches_nothing_that_is_there(site, clone):
    """Snakemake copies an output that it is told to update; a pipe cannot be copied."""
    os.mkfifo(root_of(clone) / "dataset/synth/pipe")
    clone.run("-R", "download_images", "--", "download")
    assert fetched(site) == []
    assert clone.planned() == Counter()


def test_given_files_are_not_read_again_while_their_time_stamps_stay(clone):
    weights = root_of(clone) / "weights/tiny.pth"
    times, content = weights.stat(), bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 255
    weights.write_bytes(content)
    assert clone.planned()["extract"] == 1
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert clone.planned() == Counter(), "it was read"


def test_downloads_may_be_ruled_out(site, clone):
    clone.configure(settings(site, download="never"))
    assert clone.planned() == Counter()
    (root_of(clone) / "weights/tiny.pth").unlink()
    assert clone.planned() == Counter(), "what was made of it is there"
    (root_of(clone) / "feats/tiny/database.npz").unlink()
    shutil.rmtree(clone.folder / "results")
    for arguments in (["-n"], ["--cores", "1"]):
        refused = clone.run(*arguments, check=False)
        assert refused.returncode
        assert "download is `never`, and 2 of the files and folders that the run reads are missing" in refused.stdout
        for file in ("feats/tiny/database.npz", "weights/tiny.pth"):
            assert f"\n  resources/small/{file}  <-  https://example.invalid/files/" in refused.stdout
    assert site.requests == [] and not (clone.folder / "results").exists()


def test_files_of_scores_are_downloads_too(site, clone):
    """Also of sources whose names differ only in what the name of a rule cannot have."""
    scores = {name: row("http", ["s.h5"], [f"scores/{name}.h5"]) for name in ("my_scores", "my-scores")}
    registry = {name: f"scores/{name}.h5" for name in scores}
    clone.configure(settings(site, sources=SOURCES | scores, score_methods=[*scores], score_registry=registry))
    downloads = [rule for rule in clone.planned() if rule.startswith("download_my_scores")]
    assert len(downloads) == 2 and "download_my_scores" in downloads


def test_an_empty_folder_may_be_a_link_to_another_disk(site, tmp_path):
    clone = Clone(tmp_path / "clone", settings(site), targets=SUMMARY)
    (tmp_path / "large").mkdir()
    (root_of(clone) / "dataset").mkdir(parents=True)
    (root_of(clone) / "dataset/synth").symlink_to(tmp_path / "large")
    lost = site.files.pop("/it.7z.002")
    done = clone.run("download", check=False)
    site.files["/it.7z.002"] = lost
    assert f"Error in download_images: images: {site.url}/it.7z.002: HTTP 404 Not Found" in done.stdout
    assert "Traceback" not in done.stdout
    clone.run("download")
    assert (root_of(clone) / "dataset/synth").is_symlink()
    assert sorted(path.name for path in (tmp_path / "large").iterdir()) == [f"{i}.png" for i in range(4)]
    assert "Nothing to be done" in clone.run("download").stdout


def test_with_the_data_in_place_nothing_is_fetched(site, downloaded, tmp_path):
    site.requests.clear()
    clone = Clone(tmp_path / "clone", settings(site), targets=SUMMARY)
    shutil.copytree(root_of(downloaded[0]), root_of(clone), ignore=shutil.ignore_patterns(".downloads"))
    assert clone.planned() == Counter(SPLIT) + Counter(FEATURES) + Counter(RESULTS)
    clone.run()
    assert site.requests == []
    assert not (root_of(clone) / ".downloads").exists()
    assert clone.tables() == downloaded[0].tables()


def test_a_disk_that_is_too_small_is_refused_before_any_job(site, tmp_path):
    site.requests.clear()
    clone = Clone(tmp_path / "clone", settings(site, database_source="images"))
    plan = clone.run("-n").stdout
    assert "database " in plan and "520.0 GB" in plan and "too little" in plan
    done = clone.run(check=False)
    assert done.returncode != 0
    assert "resources/small: the disk has" in done.stdout and "for the downloads " in done.stdout
    assert site.requests == []
    assert not (clone.folder / "results/manifests").exists()


def test_what_cannot_be_had_stops_the_run_with_address_and_reason(site, tmp_path):
    clone = Clone(tmp_path / "clone", settings(site), targets=SUMMARY)
    lost = site.files.pop("/feats.tar")
    done = clone.run("features", check=False)
    site.files["/feats.tar"] = lost
    assert done.returncode != 0
    assert f"Error in download_feats: feats: {site.url}/feats.tar: HTTP 404 Not Found" in done.stdout
    assert done.stdout.count("HTTP 404") == 1, "it is told once"
    assert not (root_of(clone) / "feats").exists()
    clone.run("features")
    assert clone.planned(None, "features") == Counter()


def test_the_published_benchmark_is_planned_whole_without_any_net(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    clone = Clone(tmp_path / "clone", {})
    done = clone.run("-n", config={"benchmark": "abc"})
    for name in ("json", "exemplar", "synth_test", "laion_subset", "weights", "CC BY-NC-SA 4.0", "260.0 GB"):
        assert name in done.stdout
    images, features = ("json", "exemplar", "synth_test", "laion_subset", "weights"), ("feats_laion",)
    planned = clone.planned({"benchmark": "abc"})
    assert downloads(*images) <= planned
    assert (planned["manifest"], planned["extract"], planned["rank"]) == (5, 520, 20)
    planned = clone.planned({"benchmark": "abc", "database_source": "features"})
    assert downloads(*images[:3], *features, "weights") <= planned
    assert "download_laion_subset" not in planned
    assert (planned["extract"], planned["import_features"]) == (20, 500)
