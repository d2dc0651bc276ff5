"""The files of a network that is published: its library names them, and the user's cache of the hub may have them."""

import logging
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from attribench.download.address import is_on_hub
from attribench.download.partial import Partial
from attribench.download.table import STATE, DownloadSettings, Source, local_name
from attribench.extract import libraries
from attribench.extract.hub import cached, network_folder, network_name
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
    files = []
    for names in published.files:
        copies = {file: copy for file in names if (copy := cached(published.repository, file, published.revision))}
        for file, copy in list(copies.items())[:1]:
            logging.info("%s: %s is in the cache of the hub", name, copy)
            Partial(root / STATE / name, local_name(file)).take(copy)
        candidates = [Source(**where, **texts, files=[file], provides=[file]) for file in names]
        others = (s.files[0] for s in candidates[:-1] if is_on_hub(s, s.files[0], settings))
        files.append(next(iter(copies), None) or next(others, names[-1]))
    return Source(
        **where, **texts, files=files, provides=[f"{network_folder(entry)}/{local_name(file)}" for file in files]
    )
