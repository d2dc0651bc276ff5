"""Extractors: image -> feature vector. Any timm or open_clip model, a TorchScript file, or the colour histogram.

An extractor is a registry entry in the config. Its library is imported when it is loaded and not before. To add a library,
write a function `entry, root -> Loaded` and name it in `_LOADERS` and in `registry.ExtractorEntry.library`.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from attribench.checkpoints import load_strictly, match_by_order, read_state, require, weights_digest, weights_file
from attribench.errors import InputError
from attribench.files import sha256_file
from attribench.preprocessing import Preprocessing
from attribench.registry import ExtractorEntry, WeightsFile
from attribench.suggest import nearest

COLOR_BINS = 8  # per channel: 512 bins
# What OpenAI's CLIP files hold beside the network's tensors.
_OPENAI_SIZES = ("input_resolution", "context_length", "vocab_size")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A network that is ready to run.

    module: torch module, float32, evaluation mode; [b, 3, crop, crop] normalized -> [b, dimension].
    mean, std: per channel, in units of [0, 1] pixels. weights: digest of the network.
    """

    module: Any
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str


def preprocessing_of(entry: ExtractorEntry) -> Preprocessing:
    """The entry's preprocessing; what the entry leaves out is the model's own, asked of its library."""
    resize, crop, interpolation, squash = entry.resize, entry.crop, entry.interpolation, entry.squash
    if resize is None or crop is None or interpolation is None:
        default = _default_of(entry)["preprocessing"]
        crop = crop or default.crop
        resize = resize or max(crop, default.resize)
        interpolation = interpolation or default.interpolation
        squash = default.squash if squash is None else squash
    return Preprocessing(resize, crop, interpolation, bool(squash))


def load_extractor(name: str, entry: ExtractorEntry, root: Path | str) -> Loaded:
    """Load the network of registry entry `name`; raises InputError that names it for weights or a model that don't fit."""
    try:
        return _LOADERS[entry.library](entry, Path(root))
    except InputError as error:
        raise InputError(f"extractor {name}: {error}") from error
    except ImportError as error:
        package = {"open_clip": "open_clip_torch", "torchscript": "torch"}.get(entry.library, entry.library)
        raise InputError(f"extractor {name}: {error}; expected the library from `pip install {package}`") from error


def _normalization(entry: ExtractorEntry) -> dict[str, tuple[float, ...]]:
    mean, std = entry.mean, entry.std
    if mean is None or std is None:
        default = _default_of(entry)
        mean, std = mean or default["mean"], std or default["std"]
    return {"mean": tuple(mean), "std": tuple(std)}


def _default_of(entry: ExtractorEntry) -> dict[str, Any]:
    """Preprocessing, mean and std that the model's own library states for it."""
    tag = entry.pretrained if isinstance(entry.pretrained, str) else ""
    return _library_default(entry.library, entry.model, tag)


@lru_cache
def _library_default(library: str, model: str | None, tag: str) -> dict[str, Any]:
    if library == "timm":
        return _timm_default(model)
    if library == "open_clip":
        return _open_clip_default(model, tag)
    if library == "color":
        return {"preprocessing": Preprocessing(224, 224, "bicubic"), "mean": (0.0,) * 3, "std": (1.0,) * 3}
    raise InputError(f"library {library} states no preprocessing; give resize, crop, interpolation, mean and std")


def _timm_default(model: str) -> dict[str, Any]:
    settings = _timm_settings(model)
    crop = settings.input_size[-1]
    resize = int(crop / settings.crop_pct) if settings.crop_pct else crop
    return {
        "preprocessing": Preprocessing(resize, crop, settings.interpolation, settings.crop_mode == "squash"),
        "mean": tuple(settings.mean),
        "std": tuple(settings.std),
    }


def _timm_settings(model: str) -> Any:
    """What timm states of `model`, with or without the tag of its weights; InputError when it has no such model."""
    import timm

    try:
        return timm.get_pretrained_cfg(model, allow_unregistered=False)
    except RuntimeError as error:
        raise InputError(_unknown_model("timm", model, timm.list_models(pretrained=True))) from error


def _open_clip_default(model: str, tag: str) -> dict[str, Any]:
    import open_clip

    settings = open_clip.get_model_config(model)
    if settings is None:
        raise InputError(_unknown_model("open_clip", model, open_clip.list_models()))
    weights = open_clip.get_pretrained_cfg(model, tag)
    size = settings["vision_cfg"].get("image_size", 224)
    squash = weights.get("resize_mode") == "squash"
    return {
        "preprocessing": Preprocessing(size, size, weights.get("interpolation", "bicubic"), squash),
        "mean": tuple(weights.get("mean", open_clip.OPENAI_DATASET_MEAN)),
        "std": tuple(weights.get("std", open_clip.OPENAI_DATASET_STD)),
    }


def _unknown_model(library: str, model: str, models: list[str]) -> str:
    return f"{library} has no model `{model}`{nearest(model, models)} See {library}.list_models()"


def _load_timm(entry: ExtractorEntry, root: Path) -> Loaded:
    import torch

    if entry.pretrained not in ("hub", "none") and not isinstance(entry.pretrained, WeightsFile):
        raise InputError(
            f"pretrained `{entry.pretrained}`: a timm model takes hub, none or {{file: …}}; a tag belongs to its name"
        )
    torch.manual_seed(entry.seed)  # the weights of an untrained network are drawn here
    network = _create_timm(entry.model, entry.pretrained == "hub")
    if isinstance(entry.pretrained, WeightsFile):
        _load_timm_file(network, entry.pretrained, root)
    network.reset_classifier(0)
    # A tag names other weights of the same network.
    digest = weights_digest(network, f"timm {entry.model.partition('.')[0]}")
    return Loaded(network.eval(), weights=digest, **_normalization(entry))


def _create_timm(model: str, from_hub: bool) -> Any:
    import timm

    _timm_settings(model)  # refuses an unknown one
    if not from_hub:
        return timm.create_model(model, pretrained=False)
    return _from_hub(model, lambda: timm.create_model(model, pretrained=True))


def _load_timm_file(network: Any, spec: WeightsFile, root: Path) -> None:
    """Load a checkpoint. The classifier, which is not used, may be in it, be another one, or not be in it."""
    path = weights_file(spec, root)
    state = read_state(path, spec)
    whole = network.state_dict()
    network.reset_classifier(0)
    kept = network.state_dict()
    if spec.match == "order":
        state = match_by_order(path, state, whole if len(state) == len(whole) else kept)
    load_strictly(network, {name: tensor for name, tensor in state.items() if name in kept or name not in whole}, path)


def _load_open_clip(entry: ExtractorEntry, root: Path) -> Loaded:
    import open_clip
    import torch

    if entry.model not in open_clip.list_models():
        raise InputError(_unknown_model("open_clip", entry.model, open_clip.list_models()))
    tag = entry.pretrained if isinstance(entry.pretrained, str) else "none"
    if tag != "none" and tag not in (tags := open_clip.list_pretrained_tags_by_model(entry.model)):
        raise InputError(f"pretrained `{tag}`: open_clip's {entry.model} takes none, {{file: …}} or a tag of {tags}")
    torch.manual_seed(entry.seed)
    if tag == "none":
        network = open_clip.create_model(entry.model, pretrained=None)
    else:
        network = _from_hub(f"{entry.model} {tag}", lambda: open_clip.create_model(entry.model, pretrained=tag))
    if isinstance(entry.pretrained, WeightsFile):
        path = weights_file(entry.pretrained, root)
        state = read_state(path, entry.pretrained)
        load_strictly(network, {name: state[name] for name in state if name not in _OPENAI_SIZES}, path)
        log.info("weights of %s from %s", entry.model, path)
    visual = network.visual.float().eval()
    return Loaded(visual, weights=weights_digest(visual, f"open_clip {entry.model}"), **_normalization(entry))


def _from_hub(weights: str, create: Callable[[], Any]) -> Any:
    """The network that `create` makes with weights of the hub; InputError when those cannot be had."""
    try:
        return create()
    # Hub clients raise their own errors, those of HTTP clients, OSError and RuntimeError: here they all mean one thing.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"the weights of {weights} could not be had from the hub: {reason}; expected a connection (HF_ENDPOINT names a "
            "mirror), or `pretrained: {file: …}`"
        ) from error


def _load_torchscript(entry: ExtractorEntry, root: Path) -> Loaded:
    import torch

    path = weights_file(entry.pretrained, root)
    require(path)
    try:
        network = torch.jit.load(path, map_location="cpu").float().eval()
    except RuntimeError as error:
        raise InputError(f"{path}: not a TorchScript file: {str(error).strip().splitlines()[0]}") from error
    # Of the whole file: its code is as much of the network as its tensors are.
    return Loaded(network, weights=sha256_file(path)[:16], **_normalization(entry))


def _load_color(entry: ExtractorEntry, root: Path) -> Loaded:
    from attribench.color import ColorHistogram

    return Loaded(ColorHistogram(COLOR_BINS), (0.0,) * 3, (1.0,) * 3, f"histogram-{COLOR_BINS}")


_LOADERS = {
    "timm": _load_timm,
    "open_clip": _load_open_clip,
    "torchscript": _load_torchscript,
    "color": _load_color,
}
