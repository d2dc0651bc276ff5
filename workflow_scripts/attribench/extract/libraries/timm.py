"""Networks of timm, from the hub, from a file or without training, and without their classifier."""

from pathlib import Path
from typing import Any

from attribench.common.errors import InputError
from attribench.decode.preprocessing import Preprocessing
from attribench.extract.checkpoints import load_strictly, match_by_order, read_tensors, weights_digest, weights_file
from attribench.extract.libraries import Defaults, from_hub, unknown_model
from attribench.extract.registry import ExtractorEntry, WeightsFile


def defaults(entry: ExtractorEntry) -> Defaults:
    """Return the preprocessing that timm states for the weights which the model's name means."""
    settings = _settings(entry.model)
    crop = settings.input_size[-1]
    resize = int(crop / settings.crop_pct) if settings.crop_pct else crop
    preprocessing = Preprocessing(resize, crop, settings.interpolation, settings.crop_mode == "squash")
    return Defaults(preprocessing, tuple(settings.mean), tuple(settings.std))


def load(entry: ExtractorEntry, root: Path) -> tuple[Any, str]:
    """Return the network without its classifier, and the digest of its weights."""
    import timm
    import torch

    weights = entry.pretrained
    if weights not in ("hub", "none") and not isinstance(weights, WeightsFile):
        raise InputError(
            f"pretrained `{weights}`: a timm model takes hub, none or {{file: …}}; a tag belongs to its name"
        )
    _settings(entry.model)  # refuses an unknown model
    torch.manual_seed(entry.seed)  # the weights of an untrained network are drawn next
    if weights == "hub":
        network = from_hub(entry.model, lambda: timm.create_model(entry.model, pretrained=True))
    else:
        network = timm.create_model(entry.model, pretrained=False)
    whole = network.state_dict()
    network.reset_classifier(0)
    if isinstance(weights, WeightsFile):
        _load_file(network, whole, weights, weights_file(weights, root))
    # A tag names other weights of the same network.
    return network.eval(), weights_digest(network, f"timm {entry.model.partition('.')[0]}")


def _settings(model: str) -> Any:
    """Return what timm states of `model`, with or without the tag of its weights. Raises InputError for an unknown one."""
    import timm

    try:
        return timm.get_pretrained_cfg(model, allow_unregistered=False)
    except RuntimeError as error:
        raise unknown_model("timm", model, timm.list_models(pretrained=True)) from error


def _load_file(network: Any, whole: dict[str, Any], spec: WeightsFile, path: Path) -> None:
    """Load the file at `path`; the classifier, which `whole` has, may be in it, be another one, or not be in it."""
    tensors, kept = read_tensors(path, spec), network.state_dict()
    if spec.match == "order":
        tensors = match_by_order(path, tensors, whole if len(tensors) == len(whole) else kept)
    load_strictly(network, {name: t for name, t in tensors.items() if name in kept or name not in whole}, path)
