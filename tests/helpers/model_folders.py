"""Folders with a small network and its config, as open_clip, timm and the hub lay them out."""

import json

import open_clip
import timm
import torch
from safetensors.torch import save_file

TINY_CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
    # Of the hub: nothing here can make such a tower.
    "text_cfg": {"hf_model_name": "no/such-model", "hf_tokenizer_name": "no/such-model"},
}
PREPROCESS = {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear", "resize_mode": "squash"}


def tiny_tower():
    """Return the image tower of TINY_CLIP, drawn."""
    torch.manual_seed(1)
    text = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}
    return open_clip.CLIP(TINY_CLIP["embed_dim"], TINY_CLIP["vision_cfg"], text).visual


def clip_folder(folder, **config):
    """Make a folder as open_clip lays one out; return its name for `model`."""
    folder.mkdir()
    content = {"model_cfg": TINY_CLIP, "preprocess_cfg": PREPROCESS, **config}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    tensors = {f"visual.{name}": tensor.contiguous() for name, tensor in tiny_tower().state_dict().items()}
    save_file(tensors | {"text.any": torch.zeros(1)}, folder / "open_clip_model.safetensors")
    return f"local-dir:{folder.name}"


def timm_folder(folder, **config):
    """Make a folder as timm lays one out; return its name for `model`."""
    folder.mkdir()
    network = timm.create_model("test_vit")
    stated = {"input_size": [3, 160, 160], "crop_pct": 0.8, "interpolation": "bilinear", "fixed_input_size": True}
    stated |= {"mean": [0.1] * 3, "std": [0.2] * 3, "num_classes": 1000, "classifier": "head", **config}
    (folder / "config.json").write_text(json.dumps({"architecture": "test_vit", "pretrained_cfg": stated}))
    save_file(network.state_dict(), folder / "model.safetensors")
    return f"local-dir:{folder.name}"
