"""Networks in the workflow: one that cannot run is refused before images are decoded, and code is an input."""

import json

import pytest
from helpers.clone import Clone
from helpers.images import picture

pytestmark = pytest.mark.workflow

FEATURES = "results/features/photos_database/mine/00000-of-00001.h5"
NETWORK = """
import torch


def pixels():
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
    return network, dict(resize=32, crop=32, interpolation="bicubic", mean=[0.5] * 3, std=[0.5] * 3)
"""


def test_networks_are_tried_first_and_code_is_an_input(tmp_path):
    paths = {"exemplar": "e/0.png", "query": "q/0.png", "other": "others/0.png"}
    root = tmp_path / "clone/resources/photos"
    for seed, path in enumerate(paths.values()):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        picture(40, 50, seed).save(root / path)
    entry = {"exemplar": [paths["exemplar"]], "synth": {"media": [paths["query"]]}, "class_id": "0", "category": "a"}
    (root / "mine.json").write_text(json.dumps([entry]))
    (root / "models").mkdir()
    code = root / "models/mine.py"
    code.write_text(NETWORK)
    photos = {"splits": {"mine": "mine.json"}, "database": {"folder": "others"}, "extractors": ["mine"]}
    networks = {
        "mine": {"library": "python", "model": "models/mine.py:pixels"},
        "windows": {
            "library": "timm",
            "model": "halonet26t.a1h_in1k",
            "pretrained": "none",
            "resize": 260,
            "crop": 260,
        },
    }
    settings = {
        "benchmark": "photos",
        "benchmarks": {"photos": photos},
        "extractor_registry": networks,
        "device": "cpu",
    }
    clone = Clone(tmp_path / "clone", settings)

    refused = clone.run(FEATURES, config={"extractors": ["mine", "windows"]}, check=False)
    assert (
        refused.returncode and "extractor windows: its network cannot take images of 260 x 260 pixels" in refused.stdout
    )
    assert "Traceback" not in refused.stdout and not list(clone.folder.glob("results/*/photos*"))

    clone.run(FEATURES)
    assert "Nothing to be done" in clone.run("-n", FEATURES).stdout
    code.write_text(NETWORK.replace("AdaptiveAvgPool2d(2)", "AdaptiveMaxPool2d(2)"))
    assert clone.planned(None, FEATURES)["extract"] == 1
