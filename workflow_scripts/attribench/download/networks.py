"""The files of a network that is published: its library names them, and the user's cache of the hub may have them."""

import logging
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path

from attribench.download.address import is_on_hub
from attribench.download.download import alone
from attribench.download.partial import Partial
from attribench.download.table import STATE, DownloadSettings, Source, local_name
from attribench.extract import libraries
from attribench.extract.hub import Published, cached, network_folder, network_name
from attribench.extract.registry import ExtractorEntry


def network_source(
    name: str, benchmark: str, entries: Iterable[ExtractorEntry], root: Path, settings: DownloadSettings
) -> Source:
    """Return the source of the network `name`, which is one of `entries`, with its files as the library names them.

    What the user's cache of the hub has is put where the source's job finds it, and not asked for. Raises InputError for a
    model without published weights.
    """
    entry = next(entry for entry in entries if network_name(entry) == name)
    published = import_module(f"{libraries.__name__}.{entry.library}").published(entry, root)
    texts = {"benchmark": benchmark, "licence": "the model's", "unlocks": name}
    if published.url:
        where = {"kind": "http", "url": published.url}
    else:
        where = {"kind": "hub", "repo": published.repository, "revision": published.revision, "repo_type": "model"}
    copies = [_first_cached(names, published) for names in published.files]
    if commits := [_commit_of(copy, file) for file, copy in filter(None, copies)]:
        where["revision"] = commits[0]  # of which the other files are to be, too
    files = []
    with alone(root / STATE, name):
        for names, found in zip(published.files, copies, strict=True):
            if found:
                logging.info("%s: %s is in the cache of the hub", name, found[1])
                Partial(root / STATE / name, local_name(found[0])).take(found[1])
                files.append(found[0])
                continue
            sources = [Source(**where, **texts, files=[file], provides=[file]) for file in names[:-1]]
            files.append(next((s.files[0] for s in sources if is_on_hub(s, s.files[0], settings)), names[-1]))
    return Source(
        **where, **texts, files=files, provides=[f"{network_folder(entry)}/{local_name(file)}" for file in files]
    )


def _first_cached(names: Sequence[str], published: Published) -> tuple[str, Path] | None:
    """Return the first of `names` of which the user's cache of the hub has a copy, and the copy."""
    copies = ((name, cached(published.repository, name, published.revision)) for name in names)
    return next(((name, copy) for name, copy in copies if copy), None)


def _commit_of(copy: Path, file: str) -> str:
    """Return the commit that a copy in the cache of the hub is from: snapshots/COMMIT/FILE."""
    return copy.parents[len(Path(file).parts) - 1].name
