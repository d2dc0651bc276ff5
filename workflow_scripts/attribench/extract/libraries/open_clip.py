"""The image towers of open_clip, by a tag of its weights, from the hub, a folder, a file or without training.

A text tower is never used: it is not built, and what it would need is not needed.
"""

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from attribench.common.errors import InputError, first_line, nearest
from attribench.common.files import refuse_placeholder
from attribench.extract.checkpoints import load_strictly, read_tensors, weights_digest, weights_file
from attribench.extract.hub import CONFIGS, USUAL, Published, checkpoint_in, checkpoint_of, config_file, in_repository
from attribench.extract.libraries import (
    FOLDER,
    HUB,
    Loaded,
    NetworkInput,
    folder_files,
    split_name,
    stated_input,
    unknown_model,
)
from attribench.extract.registry import ExtractorEntry, WeightsFile
from attribench.extract.resampling import at_size

_CONFIG = CONFIGS["open_clip"]
_FITS = {"shortest": "short", "squash": "squash"}  # of open_clip's `resize_mode`
_SMALLEST_TEXT = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}
_USUAL = USUAL["open_clip"]
# Tensors that OpenAI's own files hold beside a network's.
_OPENAI_SIZES = ("input_resolution", "context_length", "vocab_size")

log = logging.getLogger(__name__)


def stated_inputs(entry: ExtractorEntry, root: Path) -> list[NetworkInput]:
    """Return the preprocessing that open_clip states for the model and its weights; for a file, those of all its tags."""
    import open_clip

    config, preprocessing = _config(entry, root)
    tags = _tags(entry.model)
    if preprocessing is not None or split_name(entry.model, root)[0]:
        settings = [preprocessing] if preprocessing else []
    elif isinstance(entry.pretrained, WeightsFile):
        settings = [open_clip.get_pretrained_cfg(entry.model, tag) for tag in tags]
    elif tag := _tag(entry):
        settings = [open_clip.get_pretrained_cfg(entry.model, tag)]
    else:  # an untrained network takes any pixels: those of the weights that it could have
        settings = [open_clip.get_pretrained_cfg(entry.model, tags[0]) if tags else {}]
    return [_stated(entry.model, config["vision_cfg"].get("image_size", 224), one) for one in settings]


def _stated(model: str, size: Any, settings: dict[str, Any]) -> NetworkInput:
    import open_clip

    fit = settings.get("resize_mode", "shortest")
    mean, std = settings.get("mean", open_clip.OPENAI_DATASET_MEAN), settings.get("std", open_clip.OPENAI_DATASET_STD)
    interpolation = settings.get("interpolation", "bicubic")
    return stated_input(model, size, interpolation, fit=_FITS.get(fit, fit), mean=mean, std=std)


def files(entry: ExtractorEntry, root: Path) -> list[str]:
    """Return the files of the model's folder, if the model is one."""
    return folder_files(entry.model, entry.pretrained, root, _CONFIG)


def published(entry: ExtractorEntry, root: Path) -> Published:
    """Return where the files are that the model's name and the tag of its weights mean."""
    import open_clip

    if split_name(entry.model, root)[0] == HUB:
        return in_repository(entry)
    _config(entry, root)  # refuses an unknown model
    settings = open_clip.get_pretrained_cfg(entry.model, _tag(entry))
    if place := settings.get("hf_hub"):  # OWNER/NAME/, and a file if it is another than the usual one
        repository, _, name = place.rpartition("/")
        return Published([(f"{name.removesuffix('.bin')}.safetensors", name) if name else _USUAL], repository)
    folder, _, name = settings["url"].rpartition("/")
    return Published([(name,)], url=f"{folder}/")


def load(entry: ExtractorEntry, root: Path, size: int) -> Loaded:
    """Return the image tower."""
    import torch

    config, _ = _config(entry, root)
    torch.manual_seed(entry.seed)  # the weights of an untrained network are drawn next
    tower = _tower(config)
    if entry.pretrained != "none":
        path, tensors = _tensors(entry, config, root)
        _load(tower, tensors, path)
        log.info("weights of %s from %s", entry.model, path)
    tower, resampled = _at_size(tower, config, size, trained=entry.pretrained != "none")
    tower = _with_outputs(tower, entry).float().eval()
    architecture = json.dumps(config, sort_keys=True) if split_name(entry.model, root)[0] else entry.model
    return Loaded(tower, weights_digest(tower, f"open_clip {architecture}"), resampled)


def outline(entry: ExtractorEntry, root: Path, size: int) -> Any:
    """Return the image tower without weights, on the meta device."""
    import torch

    config, _ = _config(entry, root)
    _tag(entry)  # refuses an unknown one
    with torch.device("meta"):
        tower, _ = _at_size(_tower(config), config, size, trained=entry.pretrained != "none")
        return _with_outputs(tower, entry).eval().to("meta")


# --- models and their names -------------------------------------------------------------------------------------------


def _config(entry: ExtractorEntry, root: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the config of the entry's model, and that of its preprocessing, if it states one."""
    import open_clip

    model = entry.model
    origin, name = split_name(model, root)
    if origin is None:
        if (config := open_clip.get_model_config(model)) is None:
            raise unknown_model("open_clip", model, open_clip.list_models())
        return config, config.get("preprocess_cfg")
    path = config_file(entry, root) if origin == HUB else Path(name, _CONFIG)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        config, preprocessing = content["model_cfg"], content.get("preprocess_cfg")
        return {**config, "vision_cfg": dict(config["vision_cfg"])}, preprocessing
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: no config of an open_clip model ({type(error).__name__}: {error})") from error


def _tags(model: str) -> list[str]:
    import open_clip

    return open_clip.list_pretrained_tags_by_model(model)


def _tag(entry: ExtractorEntry) -> str | None:
    """Return the tag of the entry's weights, if it is one of the library's. Raises InputError for an unknown one."""
    weights, has_own = entry.pretrained, ":" in entry.model  # a repository or a folder has weights of its own
    if isinstance(weights, WeightsFile) or weights == "none" or (has_own and weights == "hub"):
        return None
    if has_own:
        raise InputError(f"pretrained `{weights}`: {entry.model} takes hub (its own weights), none or {{file: …}}")
    if weights not in (tags := _tags(entry.model)):
        or_tag = f" or a tag: {', '.join(tags)}" if tags else ""
        raise InputError(
            f"pretrained `{weights}`{nearest(weights, [*tags, 'none']) or '.'} open_clip's {entry.model} takes none, "
            f"{{file: …}}{or_tag}"
        )
    return weights


# --- the network ------------------------------------------------------------------------------------------------------


def _tower(config: dict[str, Any], size: int | None = None) -> Any:
    """Return the image tower, not trained, for images of `size` pixels or of its own; a tower of timm's is for its own."""
    import open_clip

    vision = {**config["vision_cfg"], "timm_model_pretrained": False}
    if size is not None:
        vision["image_size"] = size
    quick_gelu = config.get("quick_gelu", False)
    try:
        return open_clip.CLIP(config["embed_dim"], vision, _SMALLEST_TEXT, quick_gelu=quick_gelu).visual
    except (TypeError, LookupError) as error:
        raise InputError(f"its config is not one of this open_clip's ({type(error).__name__}: {error})") from error


def _at_size(tower: Any, config: dict[str, Any], size: int, *, trained: bool) -> tuple[Any, str]:
    """Return the tower for images of `size` pixels, and what was resampled, in words."""
    if not hasattr(tower, "trunk"):
        own = config["vision_cfg"].get("image_size", 224)
        return at_size(tower, own, size, rebuild=lambda pixels: _tower(config, pixels), trained=trained)
    settings = tower.trunk.pretrained_cfg
    own = settings["input_size"][-1] if settings["fixed_input_size"] else size
    tower.trunk, resampled = at_size(tower.trunk, own, size, rebuild=None, trained=trained)
    return tower, resampled


def _with_outputs(tower: Any, entry: ExtractorEntry) -> Any:
    """Return the tower so that it returns its pooled features alone, or if `output` is given, these (0) and tokens (1)."""
    if hasattr(tower, "output_tokens"):
        tower.output_tokens = entry.output is not None
    return tower


# --- weights ----------------------------------------------------------------------------------------------------------


def _tensors(entry: ExtractorEntry, config: dict[str, Any], root: Path) -> tuple[Path, dict[str, Any]]:
    """Return the path of the entry's weights, and its tensors by name."""
    import open_clip

    origin, name = split_name(entry.model, root)
    if isinstance(entry.pretrained, WeightsFile):
        path = weights_file(entry.pretrained, root)
        tensors = read_tensors(path, entry.pretrained)
        if set(_OPENAI_SIZES) <= set(tensors):
            _refuse_other_activation(entry.model, config, f"{path}, a file of OpenAI's,")
        return path, tensors
    if tag := _tag(entry):
        settings = open_clip.get_pretrained_cfg(entry.model, tag)
        if settings.get("quick_gelu"):
            _refuse_other_activation(entry.model, config, f"the weights `{tag}`")
    path = checkpoint_in(Path(name), _USUAL) if origin == FOLDER else checkpoint_of(entry, root)
    return path, _read(path)


def _read(path: Path) -> dict[str, Any]:
    """Return the tensors of a checkpoint in open_clip's own forms."""
    from open_clip.factory import load_state_dict

    refuse_placeholder(path)
    try:
        return load_state_dict(str(path))
    except Exception as error:  # whatever the reader trips over in a file that is none
        reason = first_line(error)
        raise InputError(f"{path}: not a checkpoint of open_clip's ({reason})") from error


def _refuse_other_activation(model: str, config: dict[str, Any], weights: str) -> None:
    """Raise InputError for a model without QuickGELU, which the weights were trained with."""
    import open_clip

    if not config.get("quick_gelu", False):
        same = f"{model}-quickgelu"
        expected = same if same in open_clip.list_models() else "one that has it"
        raise InputError(f"{weights} were trained with QuickGELU, which {model} has not; expected the model {expected}")


def _load(tower: Any, tensors: dict[str, Any], path: Path) -> None:
    """Load the image tower's tensors, strictly. Those of other parts are left out; a file may hold only the tower's."""
    import torch
    from open_clip.convert import convert_state_dict

    try:  # files of MobileCLIP's authors have names of their own
        tensors = convert_state_dict(SimpleNamespace(visual=tower), tensors)
    except (LookupError, AttributeError, RuntimeError, ValueError) as error:
        raise InputError(f"{path}: does not fit the network ({type(error).__name__}: {error})") from error
    whole = {name: tensor for name, tensor in tensors.items() if name.startswith("visual.")}
    if whole:
        load_strictly(torch.nn.ModuleDict({"visual": tower}), whole, path)
    else:
        load_strictly(tower, tensors, path)
