"""Extraction: features equal a forward pass written out here; identity, floors and faults."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from attribench.common.errors import InputError
from attribench.extract import libraries
from attribench.extract.checkpoints import match_by_order, weights_file
from attribench.extract.extractors import load_extractor, preprocessing_of
from attribench.extract.forward import choose_device
from attribench.extract.registry import ExtractorEntry
from attribench.plan.config import load
from helpers.config import DEFAULTS, REPOSITORY
from helpers.extraction import TINY, extracted
from helpers.images import picture
from PIL import Image
from skimage import data
from torchvision import transforms

REGISTRY = load(DEFAULTS).extractor_registry


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for i in range(11):
        picture(90, 70, seed=i).save(folder / f"{i}.png")
    return folder, [f"{i}.png" for i in range(11)]


def extract(tmp_path, images, name, entry, paths=None, **settings):
    root, all_paths = images
    return extracted(tmp_path, root, all_paths if paths is None else paths, name, entry, **settings)


def test_features_equal_an_independent_forward_pass(tmp_path, images):
    found, identity, rows = extract(tmp_path, images, "tiny", TINY)
    torch.manual_seed(0)
    network = timm.create_model("test_efficientnet", num_classes=1000)
    network.reset_classifier(0)
    transform = transforms.Compose(
        [
            transforms.Resize(40, transforms.InterpolationMode.BILINEAR),
            transforms.CenterCrop(32),
            transforms.ToTensor(),
            transforms.Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.25)),
        ]
    )
    batch = torch.stack([transform(Image.open(images[0] / path).convert("RGB")) for path in images[1]])
    with torch.no_grad():
        expected = network.eval()(batch).numpy()
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    assert rows.paths == images[1]
    assert (identity.extractor, identity.dimension) == ("tiny", expected.shape[1])
    assert identity.preprocessing == "bilinear-40-32 mean 0.4,0.5,0.6 std 0.2,0.3,0.25"
    assert identity.precision == "float32"


def test_a_feature_does_not_depend_on_the_shard_it_is_in(tmp_path, images):
    """Bit for bit: otherwise the number of shards could change a rank."""
    whole, _, _ = extract(tmp_path, images, "tiny", TINY)
    parts = [
        extract(tmp_path, images, "tiny", TINY, paths)[0] for paths in (images[1][:5], images[1][5:6], images[1][6:])
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_seed_and_precision_are_part_of_the_features(tmp_path, images):
    plain, identity, _ = extract(tmp_path, images, "tiny", TINY)
    again, same, _ = extract(tmp_path, images, "tiny", TINY)
    np.testing.assert_array_equal(plain, again)
    assert same == identity
    _, seeded, _ = extract(tmp_path, images, "tiny", TINY.model_copy(update={"seed": 1}))
    assert "weights" in seeded.difference(identity)
    halved, bf16, _ = extract(tmp_path, images, "tiny", TINY, precision="bf16")
    assert "precision" in bf16.difference(identity)
    assert 0 < np.abs(halved - plain).max() < 0.1 * np.abs(plain).max()


# A network plain and compiled, for whole batches and a short one, then in halves; the second argument says what to expect.
COMPILED = """
import sys
import numpy as np, torch
from attribench.common.errors import InputError
from attribench.extract.extractors import Network
from attribench.extract.forward import ForwardPass

torch.manual_seed(0)
layers = torch.nn.Conv2d(3, 16, 3, 2), torch.nn.GELU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
network = Network(torch.nn.Sequential(*layers).eval(), (0.5,) * 3, (0.5,) * 3, "")
pixels = np.random.default_rng(0).integers(0, 256, (10, 64, 64, 3), np.uint8)


def made(precision, compiled):
    settings = dict(precision=precision, device=torch.device("cpu"), batch_size=4, compiled=compiled)
    return ForwardPass(network, 64, **settings)


if sys.argv[1] == "no compiler":
    try:
        made("float32", True)
    except InputError as error:
        assert "config key compile: true does not work on this machine" in str(error) and "expected false" in str(error)
        sys.exit()
    sys.exit("compiled without a compiler")
for precision, close in (("float32", 1e-5), ("bf16", 0.03)):
    torch._dynamo.utils.counters.clear()
    plain, compiled = made(precision, False), made(precision, True)
    expected, found = plain(pixels), compiled(pixels)
    assert np.abs(found - expected).max() < close * np.abs(expected).max(), np.abs(found - expected).max()
    assert (compiled(pixels[:9]) == found[:9]).all()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not torch._dynamo.utils.counters["graph_break"]

# A batch that does not fit: the network says so from 3 images on.
inner = compiled._module
compiled._module = lambda images: inner(images) if len(images) < 3 else torch.empty(1 << 60)
assert np.abs(compiled(pixels) - expected).max() < 0.03 * np.abs(expected).max()
assert compiled.batch_size == 2
assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2
"""


@pytest.mark.parametrize("case", ["a compiler", "no compiler"])
def test_a_compiled_network_gives_the_features_but_for_rounding(case, tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY / "workflow_scripts"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
    }
    if case == "no compiler":
        environment["CXX"] = str(tmp_path / "none")
    command = [sys.executable, "-c", COMPILED, case]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr


# Passes over 256 images where there is memory for fewer, and over one where there is none.
SCARCE = """
import resource, sys
import numpy as np, psutil, timm, torch
from attribench.common.errors import InputError
from attribench.extract.extractors import Network
from attribench.extract.forward import ForwardPass

torch.manual_seed(0)
network = Network(timm.create_model("test_efficientnet", num_classes=0).eval(), (0.5,) * 3, (0.5,) * 3, "")
pixels = np.random.default_rng(0).integers(0, 256, (300, 96, 96, 3), np.uint8)


def features(batch_size, free):
    forward = ForwardPass(network, 96, precision="float32", device=torch.device("cpu"), batch_size=batch_size)
    size = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (size + free if free else resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    found = np.concatenate(list(forward.map([pixels[:256], pixels[256:]])))
    return found, forward.batch_size


expected, _ = features(16, None)
found, batch_size = features(256, 100 << 20)
assert np.allclose(found, expected, rtol=1e-3, atol=1e-5), np.abs(found - expected).max()
assert 1 < batch_size < 256, batch_size
try:
    features(1, 1 << 16)
except InputError as error:
    assert "not enough memory on cpu for one image" in str(error)
else:
    sys.exit("a pass without memory")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process can be bounded on Linux")
def test_a_pass_that_does_not_fit_into_memory_is_made_in_halves():
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "workflow_scripts"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", SCARCE], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_real_network_names_a_photograph():
    """The shipped ImageNet weights, loaded by order, with the classifier on: they see a cat where there is one."""
    entry = REGISTRY["efficientnet_lite0"]
    network = timm.create_model(entry.model).eval()
    path = weights_file(entry.pretrained, "")
    state = torch.load(path, weights_only=True)
    assert len(state) == 296
    network.load_state_dict(match_by_order(path, state, network.state_dict()))
    transform = transforms.Compose(
        [
            transforms.Resize(224, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.5,) * 3),
        ]
    )
    batch = torch.stack([transform(Image.fromarray(image)) for image in (data.chelsea(), data.coffee())])
    with torch.no_grad():
        names = network(batch).argmax(1).tolist()
    assert names[0] in range(281, 286), "a domestic cat"
    assert names[1] in (504, 967, 969, 550), "coffee mug, espresso, eggnog, espresso maker"


def test_the_colour_histogram_counts_colours(tmp_path):
    half = np.zeros((8, 8, 3), np.uint8)
    half[:4] = (255, 0, 0)
    Image.fromarray(half).save(tmp_path / "half.png")
    Image.fromarray(half[::-1].copy()).save(tmp_path / "flipped.png")
    entry = ExtractorEntry(library="color", resize=8, crop=8, interpolation="nearest")
    features, _, _ = extract(tmp_path, (tmp_path, ["half.png", "flipped.png"]), "color", entry)
    np.testing.assert_array_equal(features[0], features[1])
    assert sorted(np.flatnonzero(features[0])) == [0, 7 * 64]
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-6)
    darker = entry.model_copy(update={"mean": [0.5] * 3})  # black becomes -0.5, and white 0.5
    features, _, _ = extract(tmp_path, (tmp_path, ["half.png", "flipped.png"]), "color", darker)
    assert sorted(np.flatnonzero(features[0])) == [0, 4 * 64]
    for wanted in ({"output": 0}, {"pool": "mean"}):
        with pytest.raises(InputError, match="extractor color: the colour histogram has one output"):
            load_extractor("color", entry.model_copy(update=wanted), tmp_path)


def test_invalid_rows_are_zeros(tmp_path, images):
    (images[0] / "bad.png").write_bytes(b"no image")
    features, _, rows = extract(tmp_path, images, "tiny", TINY, [images[1][0], "bad.png", images[1][1]])
    assert rows.valid.tolist() == [True, False, True]
    assert features.any(axis=1).tolist() == [True, False, True]
    assert rows.reasons[1]


def test_nan_features_are_refused_by_image(tmp_path, images):
    network = load_extractor("tiny", TINY, tmp_path)
    with torch.no_grad():
        next(network.module.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match=r"extractor tiny: the feature of 0.png holds NaN"):
        extract(tmp_path, images, "tiny", TINY, network=network)
    assert not (tmp_path / "tiny.h5").exists()


def test_features_that_are_all_zero_are_refused_by_image(tmp_path, images):
    """The features of an invalid image are all zero too, and stand for nothing."""
    (images[0] / "bad.png").write_bytes(b"no image")
    network = load_extractor("tiny", TINY, tmp_path)
    network.module.forward = lambda batch: torch.zeros(len(batch), 4)
    with pytest.raises(InputError, match=r"extractor tiny: the feature of 0.png is all 0"):
        extract(tmp_path, images, "tiny", TINY, ["bad.png", images[1][0]], network=network)


def test_preprocessing_not_given_is_the_models_own():
    assert str(preprocessing_of(ExtractorEntry(library="timm", model="resnet50.a1_in1k"))) == "bicubic-235-224"
    clip = ExtractorEntry(library="open_clip", model="ViT-B-32-quickgelu", pretrained="openai")
    assert str(preprocessing_of(clip)) == "bicubic-224-224"
    siglip = ExtractorEntry(library="open_clip", model="ViT-B-16-SigLIP", pretrained="webli")
    assert str(preprocessing_of(siglip)) == "bicubic-squash224-224"
    assert str(preprocessing_of(siglip.model_copy(update={"squash": False}))) == "bicubic-224-224"
    squashed = ExtractorEntry(library="timm", model="vit_base_patch16_clip_384.openai_ft_in12k_in1k")
    assert str(preprocessing_of(squashed)) == "bicubic-squash404-384"


LIBRARY = """
from attribench.extract.libraries.color import load, stated_inputs
"""
USED = """
from attribench.extract.extractors import load_extractor, preprocessing_of
from attribench.extract.registry import ExtractorEntry

entry = ExtractorEntry(library="mine")
print(preprocessing_of(entry), load_extractor("any", entry, ".").weights)
"""


def test_a_library_is_added_by_one_file(tmp_path):
    shutil.copytree(REPOSITORY / "workflow_scripts/attribench", tmp_path / "attribench")
    (tmp_path / "attribench/extract/libraries/mine.py").write_text(LIBRARY)
    command = [sys.executable, "-c", USED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."})
    assert done.stdout == "bicubic-224-224 histogram-8\n", done.stderr
    assert libraries.NAMES == ("color", "open_clip", "python", "timm", "torchscript")


def test_any_open_clip_model_loads(tmp_path, images):
    entry = ExtractorEntry(library="open_clip", model="RN50", pretrained="none")
    small = load_extractor("rn50", entry, tmp_path)
    with torch.no_grad():
        assert small.module(torch.zeros(1, 3, 224, 224)).shape == (1, 1024)
    assert small.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))


WRONG = {
    "unknown timm model": (
        dict(library="timm", model="resnet5o", pretrained="none"),
        "timm has no model `resnet5o`; did",
    ),
    "unknown open_clip model": (
        dict(library="open_clip", model="ViT-B-23", pretrained="none"),
        "did you mean `ViT-B-32`",
    ),
    "unknown tag": (dict(library="open_clip", model="RN50", pretrained="opnai"), "`opnai`; did you mean `openai`"),
    "no weights file": (
        dict(library="timm", model="test_vit", pretrained={"file": "no.pth"}),
        "no.pth: the weights file",
    ),
    "no TorchScript file": (dict(library="torchscript", pretrained={"file": "no.pt"}), "no.pt: the weights file"),
    "no package": (
        dict(library="timm", model="test_vit", pretrained={"package": "no_such_pkg", "file": "x"}),
        "no_such_pkg is not installed; expected it from `pip install no-such-pkg`",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_entry_is_refused_by_name(tmp_path, name):
    settings, message = WRONG[name]
    full = dict(resize=32, crop=32, interpolation="bicubic", mean=[0.5] * 3, std=[0.5] * 3)
    with pytest.raises(InputError, match=f"extractor mine: .*{message}"):
        load_extractor("mine", ExtractorEntry(**settings, **full), tmp_path)


def test_weights_load_strictly(tmp_path):
    network = timm.create_model("test_vit")
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": state | {"extra": torch.zeros(1)}, "epoch": 3}, tmp_path / "w.pth")
    settings = dict(library="timm", model="test_vit", resize=32, crop=32, interpolation="bicubic", mean=[0.5] * 3)
    weights = dict(file="w.pth", key="state_dict", prefix="module.")

    def load_with(**changes):
        return load_extractor(
            "mine", ExtractorEntry(**settings, std=[1.0] * 3, pretrained={**weights, **changes}), tmp_path
        )

    loaded = load_with()
    np.testing.assert_array_equal(loaded.module.cls_token.detach(), network.cls_token.detach())
    assert load_with(drop=["head."]).weights == loaded.weights
    with pytest.raises(InputError, match="w.pth: does not fit the network"):
        load_with(prefix="")
    with pytest.raises(InputError, match="w.pth: has no entry 'model'"):
        load_with(key="model")
    with pytest.raises(InputError, match="w.pth: holds .* tensors; expected"):
        load_with(prefix="", match="order")


def test_devices_that_are_not_there_are_refused():
    assert choose_device("cpu").type == "cpu"
    missing = "cuda" if not torch.cuda.is_available() else "mps"
    with pytest.raises(InputError, match=f"device: {missing} is not available"):
        choose_device(missing)
