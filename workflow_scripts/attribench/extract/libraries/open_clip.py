"""The image networks of open_clip, by a tag of its weights, from a file or without training."""

import logging
from pathlib import Path
from typing import Any

from attribench.common.errors import InputError
from attribench.decode.preprocessing import Preprocessing
from attribench.extract.checkpoints import load_strictly, read_tensors, weights_digest, weights_file
from attribench.extract.libraries import Defaults, from_hub, unknown_model
from attribench.extract.registry import ExtractorEntry, WeightsFile

# What OpenAI's CLIP files hold beside the network's tensors.
_OPENAI_SIZES = ("input_resolution", "context_length", "vocab_size")

log = logging.getLogger(__name__)


def defaults(entry: ExtractorEntry) -> Defaults:
    """Return the preprocessing that open_clip states for the model and the tag of its weights."""
    import open_clip

    settings = open_clip.get_model_config(entry.model)
    if settings is None:
        raise unknown_model("open_clip", entry.model, open_clip.list_models())
    weights = open_clip.get_pretrained_cfg(entry.model, entry.pretrained if isinstance(entry.pretrained, str) else "")
    size = settings["vision_cfg"].get("image_size", 224)
    squash = weights.get("resize_mode") == "squash"
    preprocessing = Preprocessing(size, size, weights.get("interpolation", "bicubic"), squash)
    mean, std = weights.get("mean", open_clip.OPENAI_DATASET_MEAN), weights.get("std", open_clip.OPENAI_DATASET_STD)
    return Defaults(preprocessing, tuple(mean), tuple(std))


def load(entry: ExtractorEntry, root: Path) -> tuple[Any, str]:
    """Return the network of the image, and the digest of its weights."""
    import open_clip
    import torch

    if entry.model not in open_clip.list_models():
        raise unknown_model("open_clip", entry.model, open_clip.list_models())
    tag = entry.pretrained if isinstance(entry.pretrained, str) else "none"
    if tag != "none" and tag not in (tags := open_clip.list_pretrained_tags_by_model(entry.model)):
        raise InputError(f"pretrained `{tag}`: open_clip's {entry.model} takes none, {{file: …}} or a tag of {tags}")
    torch.manual_seed(entry.seed)  # the weights of an untrained network are drawn next
    if tag == "none":
        network = open_clip.create_model(entry.model, pretrained=None)
    else:
        network = from_hub(f"{entry.model} {tag}", lambda: open_clip.create_model(entry.model, pretrained=tag))
    if isinstance(entry.pretrained, WeightsFile):
        path = weights_file(entry.pretrained, root)
        tensors = read_tensors(path, entry.pretrained)
        load_strictly(network, {name: tensors[name] for name in tensors if name not in _OPENAI_SIZES}, path)
        log.info("weights of %s from %s", entry.model, path)
    visual = network.visual.float().eval()
    return visual, weights_digest(visual, f"open_clip {entry.model}")
