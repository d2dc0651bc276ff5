"""The five published extractors: from files in the published formats, on image files of every kind, the features equal a
forward pass that is written out elsewhere; and from a hub, the same weights make the same extractor."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from attribench.common.errors import InputError
from attribench.extract.extractors import load_extractor
from attribench.extract.registry import ExtractorEntry
from attribench.formats.features import Invalid, read_collection
from attribench.formats.manifest import ManifestRow
from attribench.plan.config import load
from attribench.plan.plan import Plan
from attribench.provenance.keys import digest
from helpers.config import DEFAULTS, REPOSITORY, changed
from helpers.extraction import TINY, extracted
from helpers.images import picture, rotated
from helpers.model_folders import clip_folder, timm_folder
from helpers.published_networks import (
    Sscd,
    clip_archive,
    clip_forward,
    clip_shapes,
    draw,
    in_half_precision,
    moco_checkpoint,
    sincos_positions,
    sscd_forward,
    vit_archive,
    vit_forward,
    vit_shapes,
)
from PIL import Image
from safetensors.torch import save
from skimage import data

WEIGHTS = "weights/pretrained/"
# The one line that a user adds for a file; those of moco and sscd are the registry's own.
FILES = {
    "clip": {"file": WEIGHTS + "ViT-B-32.pt"},
    "dino": {"file": WEIGHTS + "dino_vitbase16_pretrain.pth"},
    "vit": {"file": WEIGHTS + "B_16-augreg.npz"},
}
CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
# CLIP's network is the smallest and sees all kinds of images; the others see these or two of them, to save time.
SOME = ["cmyk.jpg", "narrow.png", "palette.png", "rotated.jpg"]
# Of the published table: resize, crop, interpolation, mean and std.
TABLE = {
    "clip": (224, 224, Image.Resampling.BICUBIC, CLIP),
    "dino": (256, 224, Image.Resampling.BICUBIC, IMAGENET),
    "moco": (256, 224, Image.Resampling.BILINEAR, IMAGENET),
    "vit": (384, 384, Image.Resampling.BILINEAR, ([0.5] * 3, [0.5] * 3)),
    "sscd": (288, 288, Image.Resampling.BILINEAR, IMAGENET),
}


def entry_of(name):
    pretrained = {f"extractor_registry__{name}__pretrained": FILES[name]} if name in FILES else {}
    return load(changed(**pretrained)).extractor_registry[name]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Images of every kind, and the folder for weights, which goes when these tests are done: it holds 1.4 GB."""
    folder = tmp_path_factory.mktemp("root")
    (folder / WEIGHTS).mkdir(parents=True)
    cat = Image.fromarray(data.chelsea())
    files = {
        "colour.png": cat,
        "grey.png": cat.convert("L").crop((0, 0, 301, 199)),
        "palette.png": cat.quantize(64).crop((3, 0, 260, 255)),
        "alpha.png": Image.merge("RGBA", (*cat.split(), cat.convert("L"))).crop((100, 0, 301, 300)),
        "grey16.png": Image.fromarray(np.arange(90 * 71, dtype=np.uint16).reshape(90, 71) * 10),
        "narrow.png": picture().resize((1, 40)),
        "small.png": picture(37, 23),
        "cmyk.jpg": Image.fromarray(data.astronaut()).convert("CMYK"),
        "photo.JPEG": Image.fromarray(data.coffee()).crop((0, 0, 255, 257)),
    }
    for name, image in files.items():
        image.save(folder / name)
    coins = Image.fromarray(data.coins())
    coins.save(folder / "rotated.jpg", **rotated(coins))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def states(root):
    """Return what each network's file holds, by extractor, under the published names and in the published formats."""
    vit = draw(vit_shapes(197), 0)
    found = {"dino": vit, "moco": vit | {"pos_embed": sincos_positions()}, "clip": draw(clip_shapes(), 1)}
    torch.save(vit, root / FILES["dino"]["file"])
    torch.save(moco_checkpoint(found["moco"]), root / WEIGHTS / "moco-vit-b-300ep.pth.tar")
    found["clip"] = in_half_precision(found["clip"])
    clip_archive(found["clip"]).save(root / FILES["clip"]["file"])
    found["vit"] = vit | draw({"pos_embed": (1, 577, 768), "head.weight": (1000, 768), "head.bias": (1000,)}, 2)
    np.savez(root / FILES["vit"]["file"], **vit_archive(found["vit"]))
    torch.manual_seed(3)
    sscd = Sscd().eval()
    found["sscd"] = sscd.state_dict()
    torch.jit.script(sscd).save(root / WEIGHTS / "sscd_disc_mixup.torchscript.pt")
    return found


def normalized_by_hand(path, name):
    """The image as the network sees it, float64 [3, crop, crop]: Pillow's resize, and the rest in NumPy."""
    resize, crop, interpolation, (mean, std) = TABLE[name]
    with Image.open(path) as file:
        is_deep = file.mode == "I;16"  # of which the upper 8 bits count
        image = (Image.fromarray((np.asarray(file) >> 8).astype(np.uint8)) if is_deep else file).convert("RGB")
    width, height = image.size
    size = (resize, int(resize * height / width)) if width <= height else (int(resize * width / height), resize)
    pixels = np.asarray(image.resize(size, interpolation), np.float64)
    top, left = (round((length - crop) / 2) for length in pixels.shape[:2])
    return ((pixels[top : top + crop, left : left + crop] / 255 - mean) / std).transpose(2, 0, 1)


@pytest.mark.parametrize("name", TABLE)
def test_features_equal_a_forward_pass_written_by_hand(tmp_path, root, states, name):
    paths = {"clip": sorted(path.name for path in root.glob("*.*")), "dino": SOME[:2], "vit": SOME[2:]}.get(name, SOME)
    found, identity, _ = extracted(tmp_path, root, paths, name, entry_of(name))
    images = torch.from_numpy(np.stack([normalized_by_hand(root / path, name) for path in paths]))
    forward = {"clip": clip_forward, "sscd": sscd_forward}.get(name, vit_forward)
    expected = forward(images, states[name]).numpy()
    assert identity.dimension == expected.shape[1] == (512 if name in ("clip", "sscd") else 768)
    error = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert error.max() < 1e-5, dict(zip(paths, error, strict=True))
    apart = np.linalg.norm(expected[:, None] - expected[None], axis=2) / np.linalg.norm(expected, axis=1)
    apart[np.eye(len(paths), dtype=bool)] = 1
    assert apart.min() > 1e-3, "the features tell the images apart"


# --- identity ------------------------------------------------------------------------------------------------------------

CHANGES = {
    "interpolation": ({"interpolation": "bicubic"}, "preprocessing 'bicubic-40-32 .*' against 'bilinear-40-32"),
    "resize": ({"resize": 41}, "preprocessing 'bilinear-41-32 .*' against 'bilinear-40-32"),
    "mean": ({"mean": [0.4, 0.5, 0.5]}, "preprocessing '.* mean 0.4,0.5,0.5 .*' against '.* mean 0.4,0.5,0.6"),
    "std": ({"std": [0.2, 0.3, 0.3]}, "preprocessing '.* std 0.2,0.3,0.3' against '.* std 0.2,0.3,0.25'"),
    "weights": ({"seed": 1}, "weights '[0-9a-f]{16}' against '[0-9a-f]{16}'$"),
    "architecture": ({"model": "test_efficientnet_ln"}, "weights '[0-9a-f]{16}' against '[0-9a-f]{16}'$"),
    "precision": ({}, "precision 'bf16' against 'float32'$"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_features_that_were_made_otherwise_are_not_mixed(tmp_path, root, name):
    """One shard each way, of one collection: reading them together is refused, and says what differs."""
    changes, message = CHANGES[name]
    (tmp_path / "other").mkdir()
    extracted(tmp_path, root, ["small.png"], "tiny", TINY)
    precision = "bf16" if name == "precision" else "float32"
    extracted(tmp_path / "other", root, ["grey.png"], "tiny", TINY.model_copy(update=changes), precision=precision)
    rows = [ManifestRow(path, "database") for path in ("small.png", "grey.png")]
    shards = [tmp_path / "tiny.h5", tmp_path / "other/tiny.h5"]
    with pytest.raises(InputError, match=f"other/tiny.h5: its features cannot be compared with .*: {message}"):
        read_collection(shards, rows, "c", Invalid())
    assert len(read_collection([shards[0], shards[0]], [rows[0]] * 2, "c", Invalid())[0]) == 2


def test_another_file_or_another_normalization_extracts_again(tmp_path):
    """The key of an extract job holds the extractor's identity."""

    def identity(content=b"a", **settings):
        (tmp_path / "w.pth").write_bytes(content)
        entry = {**TINY.model_dump(mode="json"), "pretrained": {"file": "w.pth"}, **settings}
        raw = changed(root=str(tmp_path), extractors=["tiny"], extractor_registry__tiny=entry)
        return digest(Plan(load(raw)).extractor_identity("tiny"))

    assert identity() == identity()
    others = [identity(b"b"), identity(std=[1.0] * 3), identity(mean=[0.0] * 3), identity(resize=44)]
    others += [identity(pretrained="none"), identity(pretrained={"file": "w.pth", "drop": ["head."]})]
    assert len({identity(), *others}) == 1 + len(others)


# --- the hub -------------------------------------------------------------------------------------------------------------


class Hub(BaseHTTPRequestHandler):
    """The part of a model hub that clients fetch files from: `/REPO/resolve/REVISION/FILE`."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        repository, _, rest = self.path.lstrip("/").partition("/resolve/")
        content = self.server.files.get((repository, rest.partition("/")[2]))
        self.send_response(200 if content else 404)
        if content:
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.server.served.append(self.path)
        else:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if content and self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.served = {}, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


LOAD_ALL = """
import json, sys
from pathlib import Path
from attribench.common.errors import InputError
from attribench.download.download import download
from attribench.download.networks import network_source
from attribench.download.table import DownloadSettings
from attribench.extract.extractors import load_extractor
from attribench.extract.hub import network_name
from attribench.extract.registry import ExtractorEntry

settings = DownloadSettings(retries=0, backoff=0, timeout=10, expansion=2, keep_archives=False, mirrors={})
for name, entry in json.loads(sys.argv[1]).items():
    entry = ExtractorEntry(**entry)
    network = network_name(entry)
    try:
        source = network_source(network, "any", [entry], Path("."), settings)
        download(".", [(network, source)], source.provides, "token", settings)
        print(name, load_extractor(name, entry, Path(".")).weights)
    except InputError as error:
        print(str(error).splitlines()[0])
"""


def loaded_from(endpoint, folder, entries):
    """Return what a process of its own prints that downloads and loads `entries`, with the hub at `endpoint`, no cache."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "cache"), "NO_PROXY": "127.0.0.1"}
    settings["PYTHONPATH"] = str(REPOSITORY / "workflow_scripts")
    texts = {name: entry.model_dump(mode="json") for name, entry in entries.items()}
    command = [sys.executable, "-c", LOAD_ALL, json.dumps(texts)]
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    done = subprocess.run(command, env=environment | settings, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


def test_a_hub_gives_the_extractor_that_the_files_give(tmp_path, root, states, hub):
    """The registry's own entries, from a hub that holds the same tensors in the hub's format, and one that it does not."""
    repositories = {
        "dino": ("timm/vit_base_patch16_224.dino", "model.safetensors"),
        "vit": ("timm/vit_base_patch16_384.augreg_in21k_ft_in1k", "model.safetensors"),
        "clip": ("timm/vit_base_patch32_clip_224.openai", "open_clip_model.safetensors"),
    }
    hub.files = {place: save(states[name]) for name, place in repositories.items()}
    registry = load(DEFAULTS).extractor_registry
    entries = {name: registry[name] for name in repositories}
    entries |= {"tiny": ExtractorEntry(library="timm", model="test_vit.r160_in1k")}
    entries |= {"laion": ExtractorEntry(library="open_clip", model="ViT-B-32", pretrained="laion2b_s34b_b79k")}
    # What is a model's own repository, with its config, gives what a folder with the same files gives.
    folders = {"clip": clip_folder(tmp_path / "clip"), "vit": timm_folder(tmp_path / "vit")}
    hub.files |= {(f"me/{n}", p.name): p.read_bytes() for n in folders for p in (tmp_path / n).iterdir()}
    libraries = {"clip": "open_clip", "vit": "timm"}
    entries |= {f"my_{n}": ExtractorEntry(library=libraries[n], model=f"hf-hub:me/{n}") for n in folders}
    entries |= {"none": ExtractorEntry(library="open_clip", model="hf-hub:me/none")}
    *found, tiny, laion, my_clip, my_vit, none = loaded_from(f"http://127.0.0.1:{hub.server_port}", tmp_path, entries)
    assert found == [f"{name} {load_extractor(name, entry_of(name), root).weights}" for name in repositories]
    served = {path.split("/resolve/")[0][1:] for path in hub.served}
    assert served == {place[0] for place in repositories.values()} | {"me/clip", "me/vit"}
    for n, line in (("clip", my_clip), ("vit", my_vit)):
        same = ExtractorEntry(library=libraries[n], model=folders[n])
        assert line == f"my_{n} {load_extractor(n, same, tmp_path).weights}"
    url = f"http://127.0.0.1:{hub.server_port}"
    refused = "{}: {}/{}/resolve/main/{}: HTTP 404, "
    assert none.startswith(refused.format("open_clip--hf-hub--me--none", url, "me/none", "open_clip_config.json")), none
    network = "timm--test_vit.r160_in1k"
    assert tiny.startswith(refused.format(network, url, "timm/test_vit.r160_in1k", "pytorch_model.bin")), tiny
    network, repository = "open_clip--ViT-B-32--laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
    assert laion.startswith(refused.format(network, url, repository, "open_clip_pytorch_model.bin")), laion
