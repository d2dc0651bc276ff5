"""Networks that are published: on a hub, or at an address that their library knows.

Their files are given files below the root, as those of other networks are: a download brings them. The files of one network
have a folder of their own, named after it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attribench.common.errors import InputError
from attribench.common.files import refuse_placeholder
from attribench.extract.libraries import CHECKPOINTS, FOLDER, HUB, from_hub
from attribench.extract.registry import ExtractorEntry

PARENT = "weights/hub"  # below the root
# The config of a model that is a folder or a repository, by library.
CONFIGS = {"timm": "config.json", "open_clip": "open_clip_config.json"}


@dataclass(frozen=True)
class Published:
    """Say where a network's files are: at `revision` of a `repository` on the hub, or below `url`.

    files: for each file the names that it may have there; the first one that is there counts.
    """

    files: list[Sequence[str]]
    repository: str | None = None
    revision: str = "main"
    url: str | None = None


def network_name(entry: ExtractorEntry) -> str | None:
    """Return the name of the entry's network, if it is published; it is a file's name too."""
    if entry.library not in ("timm", "open_clip") or entry.model.startswith(f"{FOLDER}:"):
        return None
    has_config = entry.model.startswith(f"{HUB}:")
    has_weights = isinstance(entry.pretrained, str) and entry.pretrained != "none"
    if not has_weights and not has_config:
        return None
    parts = [*words_of(entry), *([] if has_weights else ["config"])]
    return re.sub(r"[^\w.@\-]", "--", "--".join(parts))


def words_of(entry: ExtractorEntry) -> list[str]:
    """Return library, model and, if it is given, the tag of the weights."""
    is_tag = isinstance(entry.pretrained, str) and entry.pretrained not in ("hub", "none")
    return [entry.library, entry.model, *([entry.pretrained] if is_tag else [])]


def network_folder(entry: ExtractorEntry) -> str | None:
    """Return the folder, below the root, of the files of the entry's network, if it is published."""
    name = network_name(entry)
    return f"{PARENT}/{name}" if name else None


def in_repository(entry: ExtractorEntry, weights: Sequence[str]) -> Published:
    """Return where the files are of a model that is a repository on the hub: its config, and weights if they are used."""
    repository, _, revision = entry.model.partition(":")[2].partition("@")
    files = [(CONFIGS[entry.library],), *([weights] if entry.pretrained == "hub" else [])]
    return Published(files, repository, revision or "main")


def cached(repository: str | None, file: str, revision: str) -> Path | None:
    """Return the copy of a repository's file in the user's cache of the hub, if there is one; nothing is requested."""
    from huggingface_hub import try_to_load_from_cache

    copy = try_to_load_from_cache(repository, file, revision=revision) if repository else None
    return Path(copy) if isinstance(copy, str) else None


def config_file(entry: ExtractorEntry, root: Path) -> Path:
    """Return the config of a model that is a repository on the hub.

    The preprocessing is part of the plan. So the config is fetched where it is not on this machine.
    """
    if local := config_here(entry, root):
        return local
    from huggingface_hub import hf_hub_download

    published, file = in_repository(entry, ()), CONFIGS[entry.library]
    what = f"{file} of {published.repository}"
    return Path(from_hub(what, lambda: hf_hub_download(published.repository, file, revision=published.revision)))


def config_here(entry: ExtractorEntry, root: Path) -> Path | None:
    """Return the config of a model that is a repository on the hub, from below the root or from the user's cache.

    A job takes it from below the root, as its weights: raises InputError where these are there and the config is not.
    """
    published, file = in_repository(entry, ()), CONFIGS[entry.library]
    folder = (root / network_folder(entry)).absolute()
    if (folder / file).is_file():
        return folder / file
    if folder.is_dir():
        raise InputError(f"{folder}: has no {file}; remove the folder, and `snakemake -c1 download` brings it anew")
    return cached(published.repository, file, published.revision)


def refuse_to_fetch_config(entry: ExtractorEntry, root: Path) -> None:
    """Raise InputError where the plan needs a config from the hub: for use where downloads are not allowed."""
    given = (entry.resize, entry.crop, entry.interpolation, entry.mean, entry.std)
    is_repository = bool(network_folder(entry)) and entry.model.startswith(f"{HUB}:")
    if is_repository and None in given and not config_here(entry, root):
        raise InputError(
            f"config key download is `never`, and {root / network_folder(entry) / CONFIGS[entry.library]} is missing, which "
            "states the preprocessing; expected what `snakemake -c1 download` brings where downloads are allowed"
        )


def checkpoint_of(entry: ExtractorEntry, root: Path, usual: Sequence[str]) -> Path:
    """Return the checkpoint of a published network, below the root. `usual`: as for `checkpoint_in`."""
    folder = (root / network_folder(entry)).absolute()
    if not folder.is_dir():
        raise InputError(
            f"{folder}: the weights of {entry.model} are not there; expected what `snakemake -c1 download` brings"
        )
    try:
        path = checkpoint_in(folder, usual)
        refuse_placeholder(path)
        return path
    except InputError as error:
        raise InputError(f"{error}; remove the folder, and `snakemake -c1 download` brings it anew") from error


def checkpoint_in(folder: Path, usual: Sequence[str]) -> Path:
    """Return the checkpoint in a model's folder: the first that has one of the `usual` names, or the only one."""
    found = [path for path in sorted(folder.iterdir()) if path.name.endswith(CHECKPOINTS)]
    named = [folder / name for name in usual if folder / name in found]
    if not named and len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise InputError(f"{folder}: expected one checkpoint, such as {usual[0]}; found {names}")
    return (named or found)[0]
