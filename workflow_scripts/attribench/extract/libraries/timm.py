"""Networks of timm, from the hub, a folder, a file or without training, and without their classifier."""

from pathlib import Path
from typing import Any

from attribench.common.errors import InputError
from attribench.common.files import refuse_placeholder
from attribench.extract.checkpoints import (
    load_strictly,
    match_by_order,
    read_tensors,
    read_whole,
    weights_digest,
    weights_file,
)
from attribench.extract.hub import CONFIGS, USUAL, Published, checkpoint_of, config_file, in_repository, network_folder
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

_CONFIG = CONFIGS["timm"]
_USUAL = USUAL["timm"]
_SIZED = ("pos_embed", "relative_position_bias_table")  # ends of names of tensors that depend on the size of the images
_FITS = {"center": "short", "squash": "squash"}  # of timm's `crop_mode`


def stated_inputs(entry: ExtractorEntry, root: Path) -> list[NetworkInput]:
    """Return the preprocessing that timm states for the weights which the model's name means.

    A name without a tag says nothing of a file's weights: for them, those of all tags are returned.
    """
    import timm

    settings = [_settings(entry, root)]
    is_bare = split_name(entry.model, root)[0] is None and "." not in entry.model
    if is_bare and isinstance(entry.pretrained, WeightsFile):
        settings = [_settings(entry, root, name) for name in timm.list_pretrained(f"{entry.model}.*")]
    return [_stated(entry.model, one) for one in settings if one.get("mean") and one.get("std")]


def _stated(model: str, settings: dict[str, Any]) -> NetworkInput:
    from timm.data import resolve_data_config

    used = resolve_data_config({}, pretrained_cfg=settings)
    fit = _FITS.get(used["crop_mode"], used["crop_mode"])
    channels = {"mean": used["mean"], "std": used["std"]}
    return stated_input(
        model, used["input_size"][1:], used["interpolation"], fit=fit, crop_share=used["crop_pct"], **channels
    )


def files(entry: ExtractorEntry, root: Path) -> list[str]:
    """Return the files of the model's folder, if the model is one."""
    return folder_files(entry.model, entry.pretrained, root, _CONFIG)


def published(entry: ExtractorEntry, root: Path) -> Published:
    """Return where the files are that the model's name means. Raises InputError where there are none."""
    if split_name(entry.model, root)[0] == HUB:
        return in_repository(entry)
    settings = _settings(entry, root)
    if repository := settings.get("hf_hub_id"):
        repository, _, revision = repository.partition("@")
        name = settings.get("hf_hub_filename")
        return Published([(name,) if name else _USUAL], repository, revision or "main")
    if not settings.get("url"):
        raise InputError(
            f"{entry.model}: timm has no weights of it; expected a model or tag that has, {{file: …}} or none"
        )
    folder, _, name = settings["url"].rpartition("/")
    return Published([(name,)], url=f"{folder}/")


def load(entry: ExtractorEntry, root: Path, size: int) -> Loaded:
    """Return the network without its classifier."""
    import torch

    weights = entry.pretrained
    torch.manual_seed(entry.seed)  # the weights of an untrained network are drawn next
    if weights == "hub":
        network = _trained(entry, root)
    else:
        network = _untrained(entry, root)
    whole = network.state_dict()
    _drop_classifier(network)
    tensors = _tensors(network, whole, weights, root) if isinstance(weights, WeightsFile) else {}
    if _fits(network, tensors):
        if tensors:
            _load_file(network, tensors, entry, root)
        network, resampled = _at_size(network, entry, root, size, trained=weights != "none")
    else:  # the file may be for images of `size`
        network, resampled = _at_size(network, entry, root, size, trained=False)[0], ""
        _load_file(network, tensors, entry, root)
    # A tag names other weights of the same network.
    origin, _ = split_name(entry.model, root)
    architecture = network.pretrained_cfg["architecture"] if origin else entry.model.partition(".")[0]
    network = network.float().eval()
    return Loaded(network, weights_digest(network, f"timm {architecture}"), resampled)


def outline(entry: ExtractorEntry, root: Path, size: int) -> Any:
    """Return the network without weights, on the meta device."""
    import torch

    with torch.device("meta"):
        network = _untrained(entry, root)
        _drop_classifier(network)
        return _at_size(network, entry, root, size, trained=entry.pretrained != "none")[0].eval().to("meta")


def _settings(entry: ExtractorEntry, root: Path, model: str | None = None) -> dict[str, Any]:
    """Return what timm states of the entry's model, or of another tag of it. Raises InputError for an unknown one."""
    import timm
    from timm.models._hub import load_model_config_from_path

    name = _full_name(entry, root) if model is None else model
    folder = name.removeprefix(f"{FOLDER}:")
    try:
        if folder != name:
            return dict(load_model_config_from_path(folder)[0])
        return timm.get_pretrained_cfg(name, allow_unregistered=False).to_dict()
    except RuntimeError as error:
        raise unknown_model("timm", name, timm.list_models(pretrained=True)) from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{Path(folder) / _CONFIG}: no config of a timm model ({type(error).__name__}: {error})"
        ) from error


def _untrained(entry: ExtractorEntry, root: Path, **settings: Any) -> Any:
    """Return the network, with its classifier and drawn weights. Raises InputError for what timm does not have."""
    import timm

    _settings(entry, root)  # refuses an unknown model
    try:
        return timm.create_model(_full_name(entry, root), pretrained=False, **settings)
    except RuntimeError as error:  # of a repository's or folder's config
        raise InputError(f"{entry.model}: its {_CONFIG} is not one of this timm's ({error})") from error


def _trained(entry: ExtractorEntry, root: Path) -> Any:
    """Return the network with the weights that its name means, which are below the root."""
    import timm

    _settings(entry, root)
    fault, weights = f"{entry.model}: its checkpoint does not fit its {_CONFIG}", {}
    if network_folder(entry):
        checkpoint, origin = checkpoint_of(entry, root), split_name(entry.model, root)[0]
        # As timm reads what it fetches by itself: the file as it is, before the model's own filter.
        weights = {"source": "", "state_dict": read_whole(checkpoint)}
        fault = f"{checkpoint}: does not fit {f'the {_CONFIG} beside it' if origin else entry.model}"
    for path in files(entry, root):
        refuse_placeholder(path)
    try:
        network = timm.create_model(_full_name(entry, root), pretrained=True, pretrained_cfg_overlay=weights)
    except Exception as error:  # whatever the checkpoint's reader or the network finds
        reason = "; ".join(filter(None, map(str.strip, str(error).splitlines()[:3])))
        raise InputError(f"{fault} ({reason})") from error
    network.pretrained_cfg.pop("state_dict", None)
    return network


def _full_name(entry: ExtractorEntry, root: Path) -> str:
    """Return the name by which timm finds the model here: a repository on the hub is the folder with its files."""
    origin, name = split_name(entry.model, root)
    if origin == HUB:
        return f"{FOLDER}:{config_file(entry, root).parent}"
    return f"{origin}:{name}" if origin else name


def _drop_classifier(network: Any) -> None:
    if hasattr(network, "reset_classifier"):  # encoders have none
        network.reset_classifier(0)


def _at_size(network: Any, entry: ExtractorEntry, root: Path, size: int, *, trained: bool) -> tuple[Any, str]:
    def rebuild(pixels: int) -> Any:
        resized = _untrained(entry, root, img_size=pixels)
        _drop_classifier(resized)
        return resized

    settings = network.pretrained_cfg
    own = settings["input_size"][-1] if settings["fixed_input_size"] else size
    return at_size(network, own, size, rebuild=rebuild, trained=trained)


def _tensors(network: Any, whole: dict[str, Any], spec: WeightsFile, root: Path) -> dict[str, Any]:
    """Return the file's tensors; the classifier, which `whole` has, may be in it, be another one, or not be in it."""
    path = weights_file(spec, root)
    tensors, kept = read_tensors(path, spec), network.state_dict()
    if spec.match == "order":
        tensors = match_by_order(path, tensors, whole if len(tensors) == len(whole) else kept)
    return {name: t for name, t in tensors.items() if name in kept or name not in whole}


def _fits(network: Any, tensors: dict[str, Any]) -> bool:
    """Return whether those of `tensors` that depend on the size of the images have the network's shapes."""
    kept = network.state_dict()
    return all(t.shape == kept[name].shape for name, t in tensors.items() if name in kept and name.endswith(_SIZED))


def _load_file(network: Any, tensors: dict[str, Any], entry: ExtractorEntry, root: Path) -> None:
    hint = "" if _fits(network, tensors) else ". Weights for images of another size need that size as `crop`"
    load_strictly(network, tensors, weights_file(entry.pretrained, root), hint)
