"""Extractors: image -> feature vector. An entry of the registry names a library, which has the network (see `libraries`)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

from attribench.common.errors import InputError
from attribench.decode.preprocessing import Preprocessing
from attribench.extract import libraries
from attribench.extract.checkpoints import refuse_other_format, weights_file
from attribench.extract.hub import has_files, network_folder, refuse_other_files
from attribench.extract.libraries import CHECKPOINTS, NetworkInput
from attribench.extract.readout import Pool, cannot_run, read_out
from attribench.extract.registry import ExtractorEntry, WeightsFile


@dataclass(frozen=True)
class Network:
    """Hold a network that is ready to run.

    module: torch module, float32, evaluation mode; normalized images [b, 3, crop, crop] -> features [b, d], or what `output`
    and `pool` make features of (see `readout`); where the library has a `forward` of its own, what that takes. mean, std:
    per channel, in units of [0, 1] pixels. weights: digest of the network and its weights. name: the extractor's.
    resampled: what was resampled for the size of the images, in words.
    """

    module: Any
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str
    name: str = ""
    output: int | str | None = None
    pool: Pool | None = None
    resampled: str = ""


def input_of(entry: ExtractorEntry, root: Path | str = ".") -> NetworkInput:
    """Return what the entry's network takes; what the entry leaves out is the model's own, as its library states it.

    Raises InputError that names the keys to give, where the library cannot know: weights from a file may be those of any
    training.
    """
    given = (entry.resize, entry.crop, entry.interpolation, entry.mean, entry.std)
    if None not in given:
        return _completed(entry, None)
    stated = list(dict.fromkeys(_completed(entry, one) for one in library_of(entry).stated_inputs(entry, Path(root))))
    if len(stated) == 1:
        return stated[0]
    keys = ("resize", "crop", "interpolation", "mean", "std")
    missing = ", ".join(key for key, value in zip(keys, given, strict=True) if value is None)
    shown = "".join(f"\n  {one.preprocessing}, mean {list(one.mean)}, std {list(one.std)}" for one in stated[:5])
    found = f"its model is published with weights of different preprocessing:{shown}\n" if stated else ""
    raise InputError(
        f"{found}it cannot be known which preprocessing its weights were trained with; give {missing}"
        f"{' (and squash)' if 'resize' in missing else ''}"
    )


def _completed(entry: ExtractorEntry, stated: NetworkInput | None) -> NetworkInput:
    """Return what the entry gives, and for what it leaves out, what its library has `stated`."""
    resize, crop, interpolation, squash = entry.resize, entry.crop, entry.interpolation, entry.squash
    if stated and None in (resize, crop, interpolation):
        own = stated.preprocessing
        crop = crop or own.crop
        resize = resize or max(crop, own.resize)
        interpolation = interpolation or own.interpolation
        squash = own.squash if squash is None else squash
    mean, std = entry.mean or stated.mean, entry.std or stated.std
    return NetworkInput(Preprocessing(resize, crop, interpolation, bool(squash)), tuple(mean), tuple(std))


def preprocessing_of(entry: ExtractorEntry, root: Path | str = ".") -> Preprocessing:
    """Return the entry's preprocessing, of `input_of`."""
    return input_of(entry, root).preprocessing


def network_files(entry: ExtractorEntry, root: Path | str) -> list[str]:
    """Return the files that the entry's network is made of, beside its weights file: absolute, or below the root."""
    library = library_of(entry)
    return library.files(entry, Path(root)) if hasattr(library, "files") else []


def load_extractor(name: str, entry: ExtractorEntry, root: Path | str) -> Network:
    """Load the network of the registry's entry `name`.

    Raises InputError that names the entry, for a model or weights that the library does not have or that do not fit.
    """
    with _faults_of(name, entry):
        takes = input_of(entry, root)
        loaded = library_of(entry).load(entry, Path(root), takes.preprocessing.crop)
        weights = loaded.weights
        if entry.output is not None or entry.pool:  # other features of the same network
            weights = sha256(f"{weights} {entry.output} {entry.pool}".encode()).hexdigest()[: len(weights)]
        how = {"output": entry.output, "pool": entry.pool, "resampled": loaded.resampled}
        return Network(loaded.module, takes.mean, takes.std, weights, name, **how)


def refuse_other_weights(entry: ExtractorEntry, root: Path | str, paths: Iterable[str]) -> None:
    """Raise InputError where files that are there cannot be the weights of the entry's network, as far as is quickly seen.

    paths: the network's files and folder, below the root or absolute. Those that are missing are no fault here.
    """
    folder = network_folder(entry)
    if folder and any(Path(root, folder).glob("*")):
        refuse_other_files(entry, Path(root))
    for path in map(Path(root).joinpath, paths):
        # What a function of the user's reads may be anything.
        if path.is_file() and path.name.endswith(CHECKPOINTS) and entry.library != "python":
            refuse_other_format(path)


def refuse_unfit(name: str, entry: ExtractorEntry, root: Path | str) -> None:
    """Raise InputError where the network of the registry's entry `name` cannot make features of images of the entry's size.

    For use before images are decoded: weights need not be there, and where a library can, nothing is computed. Weights that
    lie in files here are loaded, to see that they fit.
    """
    with _faults_of(name, entry):
        size = input_of(entry, root).preprocessing.crop
        library = library_of(entry)
        module = library.outline(entry, Path(root), size) if hasattr(library, "outline") else None
        if module is not None:
            _try_out(module, size, entry)
        if _has_weights(entry, root):
            library.load(entry, Path(root), size)


def _has_weights(entry: ExtractorEntry, root: Path | str) -> bool:
    """Return whether the entry's weights lie in a file, or a folder, that is there."""
    if isinstance(entry.pretrained, WeightsFile):
        return weights_file(entry.pretrained, root).is_file()
    if network_folder(entry) and entry.pretrained != "none":
        return has_files(entry, Path(root))
    return entry.pretrained == "hub" and bool(network_files(entry, root))


def _try_out(module: Any, size: int, entry: ExtractorEntry) -> None:
    """Raise InputError unless `module`, on torch's meta device or the CPU, makes features of two images.

    On the CPU, the features of an image must not change with the other one.
    """
    import torch

    tensors = (*module.parameters(), *module.buffers())
    device = tensors[0].device if tensors else torch.device("cpu")
    images = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)

    def features(rows: list[int]) -> Any:
        with torch.inference_mode():
            return read_out(module(images[rows]), len(rows), entry.output, entry.pool)

    try:
        one, other = features([0, 1]), None if device.type == "meta" else features([0, 2])
    except NotImplementedError:
        return  # what the meta device does not have says nothing of others
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # of any network
        raise cannot_run(error, size) from error
    if other is not None and not one.isfinite().all():
        raise InputError("its network gives NaN or Inf for images of random pixels; expected finite features")
    if other is not None and not _is_same(one[0], other[0]):
        raise InputError(
            "its network gives an image other features beside another image, or at another time; expected features that "
            "depend on the image alone: no dropout, no random numbers, no statistics of a batch"
        )


def _is_same(one: Any, other: Any) -> bool:
    """Return whether two tensors are equal, but for rounding."""
    return one.shape == other.shape and one.allclose(other, rtol=1e-3, atol=1e-3 * float(one.abs().max()))


@contextmanager
def _faults_of(name: str, entry: ExtractorEntry) -> Iterator[None]:
    """Let errors of the block name the extractor, and the package of its library where that is missing."""
    try:
        yield
    except InputError as error:
        raise InputError(f"extractor {name}: {error}") from error
    except ImportError as error:
        package = {"open_clip": "open_clip_torch", "torchscript": "torch"}.get(entry.library, entry.library)
        raise InputError(f"extractor {name}: {error}; expected the library from `pip install {package}`") from error


def library_of(entry: ExtractorEntry) -> Any:
    """Return the module of the library that the entry names."""
    return import_module(f"{libraries.__name__}.{entry.library}")
