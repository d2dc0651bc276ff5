"""Extractors: image -> feature vector. An entry of the registry names a library, which has the network (see `libraries`)."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from attribench.common.errors import InputError
from attribench.decode.preprocessing import Preprocessing
from attribench.extract import libraries
from attribench.extract.registry import ExtractorEntry


@dataclass(frozen=True)
class Network:
    """Hold a network that is ready to run.

    module: torch module, float32, evaluation mode; normalized images [b, 3, crop, crop] -> features [b, d]. mean, std: per
    channel, in units of [0, 1] pixels. weights: digest of the network and its weights.
    """

    module: Any
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str


def preprocessing_of(entry: ExtractorEntry) -> Preprocessing:
    """Return the entry's preprocessing; what the entry leaves out is the model's own, as its library states it."""
    resize, crop, interpolation, squash = entry.resize, entry.crop, entry.interpolation, entry.squash
    if resize is None or crop is None or interpolation is None:
        default = _library_of(entry).defaults(entry).preprocessing
        crop = crop or default.crop
        resize = resize or max(crop, default.resize)
        interpolation = interpolation or default.interpolation
        squash = default.squash if squash is None else squash
    return Preprocessing(resize, crop, interpolation, bool(squash))


def load_extractor(name: str, entry: ExtractorEntry, root: Path | str) -> Network:
    """Load the network of the registry's entry `name`.

    Raises InputError that names the entry, for a model or weights that the library does not have or that do not fit.
    """
    library = _library_of(entry)
    try:
        module, weights = library.load(entry, Path(root))
        mean, std = entry.mean, entry.std
        if mean is None or std is None:
            default = library.defaults(entry)
            mean, std = mean or default.mean, std or default.std
    except InputError as error:
        raise InputError(f"extractor {name}: {error}") from error
    except ImportError as error:
        package = {"open_clip": "open_clip_torch", "torchscript": "torch"}.get(entry.library, entry.library)
        raise InputError(f"extractor {name}: {error}; expected the library from `pip install {package}`") from error
    return Network(module, tuple(mean), tuple(std), weights)


def _library_of(entry: ExtractorEntry) -> Any:
    return import_module(f"{libraries.__name__}.{entry.library}")
