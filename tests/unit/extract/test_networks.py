"""Networks of every origin: preprocessing is their own, outputs become features, and they are resampled to another size."""

from collections import namedtuple

import numpy as np
import open_clip
import pytest
import timm
import torch
from attribench.common.errors import InputError
from attribench.extract.extractors import Network, input_of, load_extractor, refuse_unfit
from attribench.extract.forward import ForwardPass
from attribench.extract.readout import read_out
from attribench.extract.registry import ExtractorEntry
from helpers.extraction import extracted
from helpers.images import picture
from helpers.model_folders import TINY_CLIP, clip_folder, tiny_tower
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

PIXELS = dict(interpolation="bicubic", mean=[0.5] * 3, std=[0.5] * 3)
FILE = {"file": "w.safetensors"}


def entry_of(library, model, **settings):
    return ExtractorEntry(library=library, model=model, **settings)


def square(size, **settings):
    return dict(resize=size, crop=size, **PIXELS, **settings)


# --- preprocessing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("library", "model", "tag", "expected"),
    [
        ("open_clip", "ViT-B-16-SigLIP", "webli", ("bicubic-squash224-224", 0.5, 0.5)),
        ("open_clip", "MobileCLIP-S1", "datacompdr", ("bilinear-256-256", 0.0, 1.0)),
        ("open_clip", "ViT-B-32", "laion2b_s34b_b79k", ("bicubic-224-224", 0.48145466, 0.26862954)),
        ("timm", "vit_base_patch16_224.dino", "hub", ("bicubic-248-224", 0.485, 0.229)),
        ("timm", "vit_base_patch16_siglip_224.v2_webli", "hub", ("bicubic-248-224", 0.5, 0.5)),
    ],
)
def test_preprocessing_is_the_same_by_name_from_a_file_and_without_training(library, model, tag, expected):
    for pretrained in (tag, FILE, "none"):
        takes = input_of(entry_of(library, model, pretrained=pretrained))
        assert (str(takes.preprocessing), takes.mean[0], takes.std[0]) == expected, pretrained


UNKNOWN = {
    "tags of other mean and std": (
        entry_of("open_clip", "ViT-L-14", pretrained=FILE),
        r"different preprocessing:(.*\n)*.*give resize, crop, interpolation, mean, std \(and squash\)",
    ),
    "what is given need not be": (
        entry_of("open_clip", "ViT-L-14", pretrained=FILE, resize=224, crop=224, interpolation="bicubic"),
        "give mean, std$",
    ),
    "no weights are published": (
        entry_of("open_clip", "ViT-S-16", pretrained=FILE),
        "^it cannot be known which .* give",
    ),
    "timm without a tag": (entry_of("timm", "vit_base_patch16_224", pretrained=FILE), "give resize, .* std"),
    "a TorchScript archive": (
        entry_of("torchscript", None, pretrained=FILE, resize=8, crop=8),
        "give inter.*, mean, std$",
    ),
    "borders are padded": (entry_of("timm", "deepseek_vit_412m.deepseek_v4_1_flash"), r"\(border\).*; give resize"),
    "the crop is padded": (entry_of("timm", "volo_d5_512.sail_in1k"), r"\(short, padded\).*; give resize"),
    "not square": (
        entry_of("timm", "vit_base_patch16_sapiens2.fb"),
        r"states images of \(1024, 768\) pixels.*; give resize",
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_preprocessing_that_cannot_be_known_is_to_be_given(name):
    entry, message = UNKNOWN[name]
    with pytest.raises(InputError, match=message):
        input_of(entry)
    given = entry.model_copy(update=square(224))
    assert str(input_of(given).preprocessing) == "bicubic-224-224"


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("opena", "pretrained `opena`; did you mean `openai`[?] open_clip's ViT-B-32 takes none, {file: …} or a tag: "),
        ("hub", "pretrained `hub`. open_clip's ViT-B-32 takes none, "),
    ],
)
def test_an_unknown_tag_is_refused_with_the_nearest_one(tag, message):
    with pytest.raises(InputError, match=message):
        input_of(entry_of("open_clip", "ViT-B-32", pretrained=tag))


@pytest.mark.parametrize("library", ["timm", "open_clip"])
@pytest.mark.parametrize(
    ("model", "message"),
    [("hf_hub:me/vit", r"`hf_hub:me/vit`; did you mean `hf-hub:me/vit`\? See"), ("zzzzzzzz", r"`zzzzzzzz`\. See")],
)
def test_an_unknown_model_is_refused_with_what_was_meant(library, model, message):
    with pytest.raises(InputError, match=f"{library} has no model {message}"):
        input_of(entry_of(library, model))


def test_mean_and_std_settle_what_the_tags_differ_in():
    takes = input_of(entry_of("open_clip", "ViT-L-14", pretrained=FILE, mean=[0.5] * 3, std=[0.5] * 3))
    assert str(takes.preprocessing) == "bicubic-224-224"


def test_weights_of_quick_gelu_are_refused_for_a_network_without_it(tmp_path):
    with pytest.raises(
        InputError, match="`openai` were trained with QuickGELU, .*expected the model ViT-B-32-quickgelu"
    ):
        load_extractor("clip", entry_of("open_clip", "ViT-B-32", pretrained="openai", **square(224)), tmp_path)


def test_weights_that_do_not_fit_are_refused_before_anything_is_decoded(tmp_path):
    clip = clip_folder(tmp_path / "clip")
    mobile_clip = {"image_encoder.model.patch_emb.0.block.conv.weight": torch.zeros(1)}
    for tensors, message in (({"odd": torch.zeros(1)}, " missing: .*not expected: odd"), (mobile_clip, "")):
        save_file(tensors, tmp_path / "w.safetensors")
        for library, model, size in (("timm", "test_vit", 160), ("open_clip", clip, 64)):
            with pytest.raises(InputError, match=f"w.safetensors: does not fit the network.*{message}"):
                refuse_unfit("net", entry_of(library, model, pretrained=FILE, **square(size)), tmp_path)
    other = clip_folder(tmp_path / "other", model_cfg={**TINY_CLIP, "embed_dim": 16})
    with pytest.raises(InputError, match=r"visual.proj \(64, 32\), not \(64, 16\)"):
        refuse_unfit("net", entry_of("open_clip", other), tmp_path)


# --- outputs --------------------------------------------------------------------------------------------------------------

Outputs = namedtuple("Outputs", ["pooled", "tokens"])
VECTORS, TOKENS, MAPS = torch.arange(6.0).reshape(2, 3), torch.randn(2, 5, 3), torch.randn(2, 3, 4, 4)
READ = {
    "vectors": (VECTORS, None, None, VECTORS),
    "an element": ((TOKENS, VECTORS), 1, None, VECTORS),
    "a key": ({"image": VECTORS, "text": None}, "image", None, VECTORS),
    "a field": (Outputs(VECTORS, TOKENS), "pooled", None, VECTORS),
    "a map of one position": (VECTORS[..., None, None], None, None, VECTORS),
    "the mean of tokens": ((VECTORS, TOKENS), 1, "mean", TOKENS.mean(1)),
    "the first token": (TOKENS, None, "token", TOKENS[:, 0]),
    "the maximum of a map": (MAPS, None, "max", MAPS.flatten(2).amax(2)),
    "the mean of a map": (MAPS, None, "mean", MAPS.flatten(2).mean(2)),
}
NOT_READ = {
    "several": (
        (VECTORS, TOKENS),
        None,
        None,
        r"a tuple of float32 \[2, 3\], float32 \[2, 5, 3\]; .*choose it by `output`",
    ),
    "named": ({"image": VECTORS}, None, None, r"a dict of 'image': float32 \[2, 3\]; expected one tensor"),
    "no such output": (
        {"image": VECTORS},
        "imag",
        None,
        r"expected `output` to be one of \['image'\]; did you mean `image`",
    ),
    "one output": (VECTORS, 0, None, "expected `output` to be one of none"),
    "tokens": (TOKENS, None, None, "give `pool`"),
    "a map": (MAPS, None, None, "give `pool`"),
    "nothing to pool": (VECTORS, None, "mean", r"expected tokens \[n, positions, d\] or a map"),
    "a map has no token": (MAPS, None, "token", r"expected tokens \[n, positions, d\] for `pool: token`"),
    "one feature for all": (VECTORS[0], None, None, r"float32 \[3\] for 2 images; expected floating point \[2, d\]"),
    "five axes": (MAPS[..., None], None, "mean", r"float32 \[2, 3, 4, 4, 1\]; expected tokens"),
    "whole numbers": (VECTORS.long(), None, None, r"int64 \[2, 3\] for 2 images; expected floating point"),
    "nothing": (None, None, None, "returns NoneType; expected one tensor"),
}


@pytest.mark.parametrize("name", READ)
def test_features_are_read_out_of_what_a_network_returns(name):
    outputs, output, pool, expected = READ[name]
    np.testing.assert_array_equal(read_out(outputs, 2, output, pool), expected)


@pytest.mark.parametrize("name", NOT_READ)
def test_other_outputs_are_refused_with_the_keys_that_are_needed(name):
    outputs, output, pool, message = NOT_READ[name]
    with pytest.raises(InputError, match=message):
        read_out(outputs, 2, output, pool)


def test_a_vision_transformer_of_open_clip_gives_its_feature_or_its_tokens(tmp_path):
    """CoCa's returns both."""
    config = {**TINY_CLIP, "vision_cfg": {**TINY_CLIP["vision_cfg"], "output_tokens": True}}
    name = clip_folder(tmp_path / "clip", model_cfg=config)
    picture(80, 70).save(tmp_path / "a.png")

    def features(**settings):
        found, identity, _ = extracted(tmp_path, tmp_path, ["a.png"], "mine", entry_of("open_clip", name, **settings))
        return found, identity.weights

    usual, weights = features()
    np.testing.assert_array_equal(features(output=0)[0], usual)
    tokens, others = features(output=1, pool="mean")
    assert tokens.shape == (1, 64) and others != weights != features(output=1, pool="max")[1]
    refuse_unfit("coca", entry_of("open_clip", "coca_ViT-B-32", pretrained="none"), tmp_path)


@pytest.mark.parametrize("model", ["xlm-roberta-base-ViT-B-32", "coca_roberta-ViT-B-32", "mt5-base-ViT-B-32"])
def test_a_text_tower_is_never_needed(tmp_path, model):
    refuse_unfit("any", entry_of("open_clip", model, pretrained="none"), tmp_path)


def test_a_pass_bears_parameters_of_any_rank_and_says_what_it_cannot_run():
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cube = torch.nn.Parameter(torch.ones(1, 1, 1, 1, 1))
            self.flag = torch.nn.Parameter(torch.tensor(True), requires_grad=False)
            self.kernel = torch.nn.Conv2d(3, 4, 3)

        def forward(self, images):
            if len(images) > 2:
                raise ValueError("too many")
            return self.kernel(images).mean((2, 3)) * self.cube.flatten() * self.flag

    settings = dict(precision="float32", device=torch.device("cpu"))
    network = Network(Odd().eval(), (0.5,) * 3, (0.5,) * 3, "", "odd")
    pixels = np.zeros((2, 8, 8, 3), np.uint8)
    assert ForwardPass(network, 8, **settings, batch_size=2)(pixels).shape == (2, 4)
    with pytest.raises(
        InputError, match=r"extractor odd: .* of 8 x 8 pixels \(ValueError: too many\); expected a network that runs"
    ):
        ForwardPass(network, 8, **settings, batch_size=3)(pixels)


# --- size -----------------------------------------------------------------------------------------------------------------


def test_a_transformer_of_timm_is_resampled_to_the_size_of_the_images(tmp_path):
    network = timm.create_model("test_vit")
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    loaded = load_extractor("vit", entry_of("timm", "test_vit", pretrained=FILE, **square(192)), tmp_path)
    expected = resample_abs_pos_embed(network.pos_embed, [12, 12], [10, 10], num_prefix_tokens=1)
    np.testing.assert_array_equal(loaded.module.pos_embed.detach(), expected.detach())
    assert loaded.resampled == "what depends on the size: from 160 to 192 pixels"
    own = load_extractor("vit", entry_of("timm", "test_vit", pretrained=FILE, **square(160)), tmp_path)
    assert own.resampled == "" and own.weights != loaded.weights


def test_a_file_of_weights_for_another_size_is_taken_at_that_size_and_refused_with_the_key_at_others(tmp_path):
    tuned = timm.create_model("test_vit", img_size=192)
    torch.save(tuned.state_dict(), tmp_path / "w.pth")
    tuned.reset_classifier(0)
    images = torch.randn(1, 3, 192, 192)
    file = {"file": "w.pth"}
    network = load_extractor("tuned", entry_of("timm", "test_vit", pretrained=file, **square(192)), tmp_path)
    assert torch.equal(network.module(images), tuned.eval()(images)) and network.resampled == ""
    for size in (160, 224):  # the model's own, and another one
        with pytest.raises(InputError, match=r"pos_embed \(1, 145, 64\), not .*another size need that size as `crop`$"):
            refuse_unfit("tuned", entry_of("timm", "test_vit", pretrained=file, **square(size)), tmp_path)


def test_a_transformer_of_open_clip_is_resampled_as_open_clip_does_it(tmp_path):
    name = clip_folder(tmp_path / "clip")
    loaded = load_extractor("clip", entry_of("open_clip", name, **square(96)), tmp_path)
    holder = torch.nn.Module()
    holder.visual = loaded.module
    state = {"visual.positional_embedding": tiny_tower().positional_embedding.detach()}
    open_clip.model.resize_pos_embed(state, holder)
    np.testing.assert_allclose(loaded.module.positional_embedding.detach(), *state.values(), rtol=1e-6, atol=1e-7)
    with torch.no_grad():
        assert loaded.module(torch.zeros(1, 3, 96, 96)).shape == (1, 32)
    assert loaded.resampled == "positional_embedding: from 64 to 96 pixels"


def test_the_shard_says_what_was_resampled(tmp_path):
    import h5py

    picture(80, 70).save(tmp_path / "a.png")
    name, said = clip_folder(tmp_path / "clip"), []
    for settings in (square(96), {}):
        extracted(tmp_path, tmp_path, ["a.png"], "mine", entry_of("open_clip", name, **settings))
        with h5py.File(tmp_path / "mine.h5") as file:
            said.append(file.attrs.get("resampled"))
    assert said == ["positional_embedding: from 64 to 96 pixels", None]


UNFIT = {
    "a mixer": (
        ("timm", "mixer_b16_224.goog_in21k"),
        256,
        "tensor blocks.0.mlp_tokens.fc1.weight .* cannot be resampled",
    ),
    "a window that does not fit": (("timm", "halonet26t.a1h_in1k"), 260, r"cannot take images of 260 x 260 pixels"),
    "a tower of timm's": (("open_clip", "ViT-B-16-SigLIP", "webli"), 20, None),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_size_that_a_network_cannot_have_is_refused_before_anything_is_decoded(tmp_path, name):
    (library, model, *tag), size, message = UNFIT[name]
    weights = {"pretrained": tag[0]} if tag else {}
    entry = entry_of(library, model, **weights, **square(size))
    if message is None:
        refuse_unfit("net", entry, tmp_path)
        return
    with pytest.raises(InputError, match=f"extractor net: .*{message}.*; expected .*`crop`"):
        refuse_unfit("net", entry, tmp_path)


@pytest.mark.parametrize(
    ("model", "tag"), [("RN50-quickgelu", "openai"), ("ViT-B-16-SigLIP", "webli"), ("ViT-B-32", "none")]
)
def test_towers_of_every_kind_take_another_size(tmp_path, model, tag):
    refuse_unfit("net", entry_of("open_clip", model, pretrained=tag, **square(288)), tmp_path)
