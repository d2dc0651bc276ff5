"""Weights files: every published form gives the same network, and one that does not fit is refused by file and by tensor."""

import json

import numpy as np
import open_clip
import pytest
import timm
import torch
from attribench.common.errors import InputError
from attribench.extract.extractors import load_extractor, preprocessing_of
from attribench.extract.registry import ExtractorEntry
from helpers.published_networks import clip_archive, clip_shapes, draw, in_half_precision, vit_archive
from safetensors.torch import save_file

SETTINGS = dict(interpolation="bicubic", mean=[0.5] * 3, std=[0.5] * 3)
TINY_CLIP = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 50, "width": 64, "heads": 1, "layers": 2},
}
CLIP_SHAPES = clip_shapes(32, 16, 2, 64, 64, 50, 16)


@pytest.fixture(scope="module", autouse=True)
def tiny_clip(tmp_path_factory):
    """Enter a small CLIP into open_clip's list of models."""
    path = tmp_path_factory.mktemp("models") / "tiny-clip.json"
    path.write_text(json.dumps(TINY_CLIP))
    open_clip.add_model_config(path)


def vit_state():
    """The tensors of timm's smallest vision transformer under their names, drawn."""
    return draw({name: tuple(t.shape) for name, t in timm.create_model("test_vit").state_dict().items()}, 4)


def write_pth(path, state):
    torch.save(state, path)


def write_nested(path, state):
    content = {f"module.base_encoder.{name}": tensor for name, tensor in state.items()}
    torch.save({"epoch": 3, "state_dict": content | {"module.other.weight": torch.zeros(2)}, "optimizer": {}}, path)


def write_npz(path, state):
    np.savez(path, **vit_archive(state, heads=2))


VIT = {"library": "timm", "model": "test_vit", "resize": 160, "crop": 160}
CLIP = {"library": "open_clip", "model": "tiny-clip", "resize": 32, "crop": 32}
# An ending, what writes such a file, and what the registry says of it beside its name.
VIT_FORMS = {
    "pth": (write_pth, {}),
    "bin": (write_pth, {}),
    "pth.tar": (write_nested, {"key": "state_dict", "prefix": "module.base_encoder."}),
    "safetensors": (lambda path, state: save_file(state, path), {}),
    "npz": (write_npz, {}),
}
CLIP_FORMS = {
    "pth": (write_pth, {}),
    "pt": (lambda path, state: clip_archive(state, 32, 50).save(path), {}),
    "safetensors": (lambda path, state: save_file(state, path), {}),
}
FORMS = [(VIT, ending) for ending in VIT_FORMS] + [(CLIP, ending) for ending in CLIP_FORMS]


def load(folder, network, ending, state, **spec):
    """Write `state` in a form and load it as the extractor `mine`."""
    write, given = (VIT_FORMS if network is VIT else CLIP_FORMS)[ending]
    write(folder / f"w.{ending}", state)
    entry = ExtractorEntry(**network, **SETTINGS, pretrained={"file": f"w.{ending}", **given, **spec})
    return load_extractor("mine", entry, folder)


def test_every_form_of_a_file_gives_the_same_network(tmp_path):
    state = vit_state()
    loaded = {ending: load(tmp_path, VIT, ending, state) for ending in VIT_FORMS}
    assert len({extractor.weights for extractor in loaded.values()}) == 1
    for name, tensor in loaded["npz"].module.state_dict().items():
        np.testing.assert_array_equal(tensor, state[name])


def test_half_precision_becomes_float32_and_the_archives_sizes_are_no_tensors_of_the_network(tmp_path):
    state = in_half_precision(draw(CLIP_SHAPES, 1))
    loaded = [load(tmp_path, CLIP, ending, state) for ending in CLIP_FORMS]
    assert len({extractor.weights for extractor in loaded}) == 1
    for name, tensor in loaded[0].module.state_dict().items():
        assert tensor.dtype == torch.float32
        np.testing.assert_array_equal(tensor, state[f"visual.{name}"].float())


FAULTS = {
    "missing": (lambda state, name: state.pop(name), "missing: {name}$"),
    "another shape": (
        lambda state, name: state.update({name: torch.zeros(1, 7, 64)}),
        r"of another shape: {name} \(1, 7, 64\), not \(",
    ),
    "extra": (
        lambda state, name: state.update({f"{'visual.' * ('visual' in name)}odd.weight": torch.zeros(3)}),
        r"not expected: (visual\.)?odd.weight$",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("network", "ending"), FORMS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_tensor_that_does_not_fit_is_refused(tmp_path, network, ending, fault):
    state = vit_state() if network is VIT else draw(CLIP_SHAPES, 1)
    name = "pos_embed" if network is VIT else "visual.positional_embedding"
    spoil, message = FAULTS[fault]
    if ending == "npz":  # its names are not the network's
        write, _ = VIT_FORMS["npz"]
        write(tmp_path / "w.npz", state)
        with np.load(tmp_path / "w.npz") as file:
            arrays = {key: torch.from_numpy(file[key]) for key in file.files}
        theirs = "Transformer/posembed_input/pos_embedding"
        spoil(arrays, theirs)
        np.savez(tmp_path / "bad.npz", **{key: array.numpy() for key, array in arrays.items()})
        entry = ExtractorEntry(**network, **SETTINGS, pretrained={"file": "bad.npz"})
        with pytest.raises(InputError, match=r"extractor mine: .*bad.npz: .*" + message.format(name=name)):
            load_extractor("mine", entry, tmp_path)
        return
    spoil(state, name)
    with pytest.raises(InputError, match=rf"extractor mine: .*w.{ending}: .*" + message.format(name=name)):
        load(tmp_path, network, ending, state)


def test_a_moco_checkpoint_without_its_position_embedding_is_refused(tmp_path):
    """It is fixed, not learned: a network that drew or computed another one would give other features, silently."""
    state = vit_state()
    marked = load(tmp_path, VIT, "pth.tar", state | {"pos_embed": torch.full_like(state["pos_embed"], 0.25)})
    assert (marked.module.pos_embed == 0.25).all()
    del state["pos_embed"]
    with pytest.raises(InputError, match=r"w.pth.tar: does not fit the network. missing: pos_embed$"):
        load(tmp_path, VIT, "pth.tar", state)


def test_only_what_is_listed_may_differ(tmp_path):
    state = vit_state()
    whole = load(tmp_path, VIT, "pth", state)
    projector = {"head.0.weight": torch.zeros(4, 64), "head.1.running_mean": torch.zeros(4)}
    body = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
    assert load(tmp_path, VIT, "pth", body).weights == whole.weights
    assert load(tmp_path, VIT, "pth", body | {"head.weight": torch.zeros(7, 64)}).weights == whole.weights
    assert load(tmp_path, VIT, "pth", body | projector, drop=["head."]).weights == whole.weights
    with pytest.raises(InputError, match="not expected: head.0.weight, head.1.running_mean$"):
        load(tmp_path, VIT, "pth", body | projector)
    with pytest.raises(InputError, match=r"missing: norm.weight, norm.bias$"):
        load(tmp_path, VIT, "pth", state, drop=["norm."])
    with pytest.raises(InputError, match=r"missing: cls_token, pos_embed, .* and 73 more; not expected: a$"):
        load(tmp_path, VIT, "pth", {"a": torch.zeros(1)})


NO_CHECKPOINTS = {
    "an error page": ("w.pth", b"<!DOCTYPE html><html>404</html>", "is a web page, not the file"),
    "nothing": ("w.pth", b"", "is empty"),
    "a page for an archive": ("w.npz", b"\xef\xbb\xbf\n<html lang=en>", "is a web page, not the file"),
    "a pointer": (
        "w.safetensors",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n",
        "is a pointer of Git LFS, .* `git lfs pull`",
    ),
    "a pointer of git-annex": ("w.bin", b"../.git/annex/objects/1/2/SHA256E-s3--0.bin", "is a pointer of git-annex"),
    "text for an archive": ("w.npz", b"Not Found", "not a checkpoint of plain tensors"),
    "text for tensors": ("w.safetensors", b"Not Found", "not a checkpoint of plain tensors"),
    "text for a file of torch": ("w.pth", b"Not Found", "not a file of plain tensors"),
}


@pytest.mark.parametrize("kind", NO_CHECKPOINTS)
def test_what_is_no_checkpoint_is_refused(tmp_path, kind):
    name, content, message = NO_CHECKPOINTS[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: {message}"):
        load_extractor("mine", ExtractorEntry(**VIT, **SETTINGS, pretrained={"file": name}), tmp_path)
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(
        InputError, match="w.pt: " + (message if message.startswith("is") else "not a TorchScript file")
    ):
        entry = ExtractorEntry(library="torchscript", resize=8, crop=8, **SETTINGS, pretrained={"file": "w.pt"})
        load_extractor("mine", entry, tmp_path)


def test_a_file_that_holds_code_is_not_run(tmp_path):
    torch.save(timm.create_model("test_vit"), tmp_path / "w.pth")
    with pytest.raises(InputError, match="w.pth: not a file of plain tensors .Unsupported global"):
        load_extractor("mine", ExtractorEntry(**VIT, **SETTINGS, pretrained={"file": "w.pth"}), tmp_path)


def test_tensors_in_another_entry_are_pointed_at(tmp_path):
    with pytest.raises(InputError, match=r"w.pth: expected tensors by name; found .*'epoch': 'int'.*`key`"):
        load(tmp_path, VIT, "pth", {"epoch": 3, "state_dict": {}})
    with pytest.raises(InputError, match=r"w.pth: no tensor's name begins with 'modul.'; found \['cls_token"):
        load(tmp_path, VIT, "pth", vit_state(), prefix="modul.")


def test_the_digest_tells_networks_apart_whose_tensors_are_equal(tmp_path):
    """GELU for QuickGELU, or other code in a TorchScript file: other features, of the same weights."""
    state = draw(CLIP_SHAPES, 1)
    (tmp_path / "tiny-gelu.json").write_text(json.dumps({**TINY_CLIP, "quick_gelu": False}))
    open_clip.add_model_config(tmp_path / "tiny-gelu.json")
    gelu = CLIP | {"model": "tiny-gelu"}
    assert load(tmp_path, CLIP, "pth", state).weights != load(tmp_path, gelu, "pth", state).weights

    class Scaled(torch.nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor: float = factor

        def forward(self, x):
            return x.mean((2, 3)) * self.factor

    digests = set()
    for factor in (1.0, 2.0):
        torch.jit.trace(Scaled(factor), torch.ones(1, 3, 8, 8)).save(tmp_path / "s.pt")
        entry = ExtractorEntry(library="torchscript", resize=8, crop=8, **SETTINGS, pretrained={"file": "s.pt"})
        digests.add(load_extractor("mine", entry, tmp_path).weights)
    assert len(digests) == 2


def test_a_file_leaves_the_preprocessing_to_the_model():
    entry = ExtractorEntry(library="timm", model="resnet50.a1_in1k", pretrained={"file": "w.pth", "drop": ["fc."]})
    assert str(preprocessing_of(entry)) == "bicubic-235-224"
    with pytest.raises(InputError, match="timm has no model `resnet5o`; did you mean"):
        preprocessing_of(ExtractorEntry(library="timm", model="resnet5o"))
    with pytest.raises(InputError, match="crop 224 is larger than resize 200"):
        preprocessing_of(ExtractorEntry(library="timm", model="resnet50.a1_in1k", resize=200))
