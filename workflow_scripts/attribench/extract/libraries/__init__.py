"""Libraries that networks come from, a module each: its name is what the registry's key `library` takes.

To add a library, add a module with two functions, which import what it needs when they are called:

- `load(entry, root)` returns the entry's network (a torch module, float32, evaluation mode: normalized images
  [b, 3, crop, crop] -> features [b, d]) and the digest that tells it and its weights from any other;
- `defaults(entry)` returns what the library states of the entry's preprocessing.

Both raise InputError for what the entry asks and the library does not have.
"""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from attribench.common.errors import InputError, nearest
from attribench.decode.preprocessing import Preprocessing

NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


@dataclass(frozen=True)
class Defaults:
    """Hold what a library states of a model: preprocessing; mean and std per channel, in units of [0, 1] pixels."""

    preprocessing: Preprocessing
    mean: tuple[float, ...]
    std: tuple[float, ...]


def unknown_model(library: str, model: str, models: list[str]) -> InputError:
    """Return the error for a model that is not among the library's `models`."""
    return InputError(f"{library} has no model `{model}`{nearest(model, models)} See {library}.list_models()")


def from_hub(weights: str, create: Callable[[], Any]) -> Any:
    """Return the network that `create` makes with weights of the hub. Raises InputError when those cannot be had."""
    try:
        return create()
    # Hub clients raise their own errors, those of HTTP clients, OSError and RuntimeError: here they all mean one thing.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"the weights of {weights} could not be had from the hub: {reason}; expected a connection (HF_ENDPOINT names a "
            "mirror), or `pretrained: {file: …}`"
        ) from error
