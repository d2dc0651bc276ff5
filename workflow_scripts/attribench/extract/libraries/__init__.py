"""Libraries that networks come from, a module each: its name is what the registry's key `library` takes.

To add a library, add a module with two functions, which import what it needs when they are called:

- `load(entry, root, size)` returns the entry's network as a `Loaded`, for images of `size` pixels; it reads files that are
  there, and asks no server;
- `stated_inputs(entry, root)` returns what the library states of the images that the network takes: one `NetworkInput`, none
  if it cannot know, or several if the entry may mean weights that differ in it.

Both raise InputError for what the entry asks and the library does not have. A library may have four functions more:

- `files(entry, root)` returns the files that the network is made of, beside those of `pretrained`: absolute paths, or below
  the root;
- `outline(entry, root, size)` returns the network, without its weights if it can, on torch's meta device if it can, where
  nothing is computed: to see, before images are decoded, that it takes them. It returns None where that is not possible;
- `forward(network, precision)` returns what makes features of pixels in place of torch's pass (`extract.extract.Forward`);
- `published(entry, root)` says where the files are that a download brings (`extract.hub`).
"""

import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attribench.common.errors import InputError, nearest
from attribench.decode.preprocessing import INTERPOLATIONS, Preprocessing

NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))
HUB, FOLDER = "hf-hub", "local-dir"  # what a model's name may begin with, before a colon

CHECKPOINTS = (".safetensors", ".bin", ".pt", ".pth", ".pth.tar", ".npz")


@dataclass(frozen=True)
class NetworkInput:
    """Hold what a network takes: the preprocessing; mean and std per channel, in units of [0, 1] pixels."""

    preprocessing: Preprocessing
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Loaded:
    """Hold a network that was loaded.

    module: torch module, float32, evaluation mode; normalized images [b, 3, size, size] -> features [b, d]; or what the
    library's own `forward` takes. weights: the digest that tells the network and its weights from any other. resampled:
    what was resampled for the size, in words.
    """

    module: Any
    weights: str
    resampled: str = ""


def stated_input(
    model: str, size: Any, interpolation: str, *, fit: str, mean: Any, std: Any, crop_share: float = 1
) -> NetworkInput:
    """Return what a library states of `model`. Raises InputError for what `Preprocessing` cannot do.

    size: of the network's images, in pixels; crop_share: the crop's share of the resized image; fit: what is resized,
    `short` (side), `squash` (both), or anything else.
    """
    sides = {*size} if isinstance(size, list | tuple) else {size}
    is_padded = crop_share > 1
    is_known = fit in ("short", "squash") and interpolation in INTERPOLATIONS
    if len(sides) != 1 or is_padded or not is_known or len(mean) != 3:
        how = f"{interpolation} ({fit}{', padded' * is_padded})"
        raise InputError(
            f"{model} states images of {size} pixels, resized by {how}, in {len(mean)} channels, which are not made here; "
            "give resize, crop, interpolation, mean and std, for square images of 3 channels"
        )
    [crop] = sides
    preprocessing = Preprocessing(int(crop / crop_share), crop, interpolation, fit == "squash")
    return NetworkInput(preprocessing, tuple(mean), tuple(std))


def split_name(model: str, root: Path) -> tuple[str | None, str]:
    """Return where a model's name points to (`hf-hub`, `local-dir` or None), and the rest, a folder's path below `root`."""
    origin, colon, rest = model.partition(":")
    if not colon or origin not in (HUB, FOLDER):
        return None, model
    if origin == FOLDER and not (root / rest).is_dir():
        raise InputError(
            f"model {model}: {root / rest} is not a folder; expected one with the model's config and weights"
        )
    return origin, str(root / rest) if origin == FOLDER else rest


def folder_files(model: str, pretrained: Any, root: Path, config: str) -> list[str]:
    """Return the files of a model that is a folder: its `config`, and its checkpoints if `pretrained` means them."""
    origin, name = split_name(model, root)
    if origin != FOLDER:
        return []
    folder = Path(name).absolute()
    if not (folder / config).is_file():
        raise InputError(f"model {model}: {folder / config} does not exist; expected the config of the model")
    checkpoints = [path for path in sorted(folder.iterdir()) if path.name.endswith(CHECKPOINTS)]
    return [str(folder / config), *map(str, checkpoints if pretrained == "hub" else [])]


def unknown_model(library: str, model: str, models: list[str]) -> InputError:
    """Return the error for a model that is not among the library's `models`."""
    origin, colon, rest = model.partition(":")
    hint = nearest(origin, (HUB, FOLDER)).replace("`?", f":{rest}`?") if colon else nearest(model, models)
    return InputError(f"{library} has no model `{model}`{hint or '.'} See {library}.list_models()")
