"""Networks that are published: on a hub, or at an address that their library knows.

Their files are given files below the root, as those of other networks are: a download brings them. The files of one network
have a folder of their own, named after it.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath

from attribench.common.errors import InputError, first_line
from attribench.common.files import git_sha1_file, refuse_placeholder, sha256_file
from attribench.extract import libraries
from attribench.extract.checkpoints import refuse_other_format
from attribench.extract.libraries import CHECKPOINTS, FOLDER, HUB
from attribench.extract.registry import ExtractorEntry

PARENT = "weights/hub"  # below the root
HUB_ADDRESS = "https://huggingface.co"
# The config of a model that is a folder or a repository, by library.
CONFIGS = {"timm": "config.json", "open_clip": "open_clip_config.json"}
# The usual names of a checkpoint in it, by library: the first that is there counts.
USUAL = {
    "timm": ("model.safetensors", "pytorch_model.bin"),
    "open_clip": (
        *("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"),
        "open_clip_pytorch_model.bin",
    ),
}
# The end of a message where a repository answers that it may not be read.
RESTRICTED = (
    "; the hub answers so for a repository that does not exist, and for one with restricted access: check the name, or set "
    "HF_TOKEN in the environment"
)
_PREPROCESSING = ("resize", "crop", "interpolation", "mean", "std")


@dataclass(frozen=True)
class Published:
    """Say where a network's files are: at `revision` of a `repository` on the hub, or below `url`.

    files: for each file the names that it may have there; the first one that is there counts.
    """

    files: list[Sequence[str]]
    repository: str | None = None
    revision: str = "main"
    url: str | None = None

    def address(self, file: str) -> str:
        """Return where anybody finds the file."""
        return f"{self.url or f'{HUB_ADDRESS}/{self.repository}/resolve/{self.revision}/'}{file}"


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


def in_repository(entry: ExtractorEntry) -> Published:
    """Return where the files are of a model that is a repository on the hub: its config, and weights if they are used."""
    repository, _, revision = entry.model.partition(":")[2].partition("@")
    files = [(CONFIGS[entry.library],), *([USUAL[entry.library]] if entry.pretrained == "hub" else [])]
    return Published(files, repository, revision or "main")


def by_hand(entry: ExtractorEntry, root: Path) -> str:
    """Return a line for each file of a published network: where it belongs, and where anybody finds it.

    For the end of a message. Raises InputError for a model without published weights.
    """
    folder = root / network_folder(entry)
    published = import_module(f"{libraries.__name__}.{entry.library}").published(entry, root)
    lines = ""
    for name, *others in published.files:
        instead = f" (or {', '.join(others)})" if others else ""
        lines += f"\n  {folder / PurePosixPath(name).name}  <-  {published.address(name)}{instead}"
    return lines


def cached(repository: str | None, file: str, revision: str) -> Path | None:
    """Return the copy of a repository's file in the user's cache of the hub, if there is one; nothing is requested."""
    from huggingface_hub import try_to_load_from_cache

    copy = try_to_load_from_cache(repository, file, revision=revision) if repository else None
    if not isinstance(copy, str):
        return None
    _refuse_damaged(Path(copy))
    return Path(copy)


def _refuse_damaged(copy: Path) -> None:
    """Raise InputError for a copy in the cache of the hub, a link to a file called by its digest, with another digest."""
    file = copy.resolve()
    digest_of = {64: sha256_file, 40: git_sha1_file}.get(len(file.name)) if copy.is_symlink() else None
    if digest_of and (found := digest_of(file)) != file.name:
        raise InputError(
            f"{copy}: damaged in the cache of the hub (its digest is {found}; expected {file.name}); remove it, and it is "
            f"fetched anew: {shlex.join(['rm', str(file), str(copy)])}"
        )


def refuse_other_file(path: Path) -> None:
    """Raise InputError for a file of a network that is no checkpoint, or has another digest than its name says.

    path: as the file is called where it comes from: `resnet-5c106cde.pth` begins its SHA-256 so, by torch.hub's custom.
    """
    if not path.name.endswith(CHECKPOINTS):
        return
    refuse_other_format(path)
    stated = re.search(r"-(?=\d*[a-f])([0-9a-f]{8,64})\.pth$", path.name)  # digits alone may be a date
    if stated and not (digest := sha256_file(path)).startswith(stated[1]):
        raise InputError(f"{path}: SHA-256 is {digest}; expected one that begins with {stated[1]}, as its name says")


def config_file(entry: ExtractorEntry, root: Path) -> Path:
    """Return the config of a model that is a repository on the hub.

    The preprocessing is part of the plan. So the config is fetched where it is not on this machine.
    """
    if local := config_here(entry, root):
        return local
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    published, file = in_repository(entry), CONFIGS[entry.library]
    where = {"repo_id": published.repository, "filename": file, "revision": published.revision}
    try:
        # Asks once. A download would be tried again and again where nothing answers.
        get_hf_file_metadata(hf_hub_url(**where))
        copy = Path(hf_hub_download(**where))
    # The hub's client raises its own errors, those of its HTTP library, OSError and RuntimeError: here they mean one thing.
    except Exception as error:
        is_refused = getattr(getattr(error, "response", None), "status_code", None) in (401, 403)
        raise InputError(
            f"{file} of {published.repository}, which states the preprocessing, could not be had from the hub "
            f"({first_line(error)}){RESTRICTED if is_refused else ''}; expected a connection (HF_ENDPOINT names a mirror), "
            f"{_without_hub(entry, root)}"
        ) from error
    _refuse_damaged(copy)
    return copy


def _without_hub(entry: ExtractorEntry, root: Path) -> str:
    """Return how to do without the config of a repository on the hub, for the end of a message."""
    given = ", ".join(key for key in _PREPROCESSING if getattr(entry, key) is None)
    return f"or {given} in the extractor's entry, or the network's files, put there by hand:{by_hand(entry, root)}"


def config_here(entry: ExtractorEntry, root: Path) -> Path | None:
    """Return the config of a model that is a repository on the hub, from below the root or from the user's cache.

    A job takes it from below the root, as its weights: raises InputError where these are there and the config is not.
    """
    published, file = in_repository(entry), CONFIGS[entry.library]
    folder = (root / network_folder(entry)).absolute()
    if (folder / file).is_file():
        return folder / file
    if folder.is_dir():
        raise InputError(f"{folder}: has no {file}; remove the folder, and `snakemake -c1 download` brings it anew")
    return cached(published.repository, file, published.revision)


def refuse_to_fetch_config(entry: ExtractorEntry, root: Path) -> None:
    """Raise InputError where the plan needs a config from the hub: for use where downloads are not allowed."""
    is_repository = bool(network_folder(entry)) and entry.model.startswith(f"{HUB}:")
    is_stated = all(getattr(entry, key) is not None for key in _PREPROCESSING)
    if is_repository and not is_stated and not config_here(entry, root):
        raise InputError(
            f"config key download is `never`, and {root / network_folder(entry) / CONFIGS[entry.library]} is missing, which "
            f"states the preprocessing; expected what `snakemake -c1 download` brings where downloads are allowed, "
            f"{_without_hub(entry, root)}"
        )


def refuse_other_files(entry: ExtractorEntry, root: Path) -> None:
    """Raise InputError where the folder of a published network has not the files that the network is loaded from.

    For use before images are decoded: of a checkpoint, only what it begins with is read, and no library is imported.
    """
    try:
        _check_files(entry, root)
    except InputError as error:
        raise InputError(f"{error}; by hand, what belongs there is{by_hand(entry, root)}") from error


def has_files(entry: ExtractorEntry, root: Path) -> bool:
    """Return whether the folder of a published network is there, and has the files that the network is loaded from."""
    try:
        _check_files(entry, root)
        return True
    except InputError:
        return False


def _check_files(entry: ExtractorEntry, root: Path) -> None:
    if entry.model.startswith(f"{HUB}:"):
        config_here(entry, root)
    if entry.pretrained != "none":
        refuse_other_format(checkpoint_of(entry, root))


def checkpoint_of(entry: ExtractorEntry, root: Path) -> Path:
    """Return the checkpoint of a published network, below the root."""
    folder = (root / network_folder(entry)).absolute()
    if not folder.is_dir():
        raise InputError(
            f"{folder}: the weights of {entry.model} are not there; expected what `snakemake -c1 download` brings"
        )
    try:
        path = checkpoint_in(folder, USUAL[entry.library])
        refuse_placeholder(path)
        return path
    except InputError as error:
        raise InputError(f"{error}; remove the folder, and `snakemake -c1 download` brings it anew") from error


def checkpoint_in(folder: Path, usual: Sequence[str]) -> Path:
    """Return the checkpoint in a model's folder: the first that has one of the `usual` names, or the only one."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    found = [path for path in files if path.name.endswith(CHECKPOINTS)]
    named = [folder / name for name in usual if folder / name in found]
    if not named and len(found) != 1:
        others = f", but {', '.join(path.name for path in files[:5])}" if files else ""
        names = ", ".join(path.name for path in found) or f"none{others}"
        raise InputError(f"{folder}: expected one checkpoint, such as {usual[0]}; found {names}")
    return (named or found)[0]
