"""Find which sources a run needs, and what stands for their content in keys before and after they are downloaded."""

import os
import secrets
from functools import cache
from pathlib import Path

from attribench.common.errors import InputError
from attribench.download.install import files_below, is_there
from attribench.download.space import human
from attribench.download.table import STATE, NetworkSource, Source, covers, origin
from attribench.extract.hub import network_folder, network_name, words_of
from attribench.extract.registry import ExtractorEntry
from attribench.provenance.fingerprints import (
    Record,
    is_as_recorded,
    note_touched,
    read_record,
    recorded_token,
    take_fingerprint,
)
from attribench.provenance.keys import digest


def network_sources(benchmark: str, extractors: dict[str, ExtractorEntry]) -> dict[str, Source]:
    """Return the sources, by name, of those networks of `extractors` that are published. No library is imported."""
    users: dict[str, list[str]] = {}
    for extractor, entry in extractors.items():
        if name := network_name(entry):
            users.setdefault(name, []).append(extractor)
    sources = {}
    for name, names in users.items():
        entry = extractors[names[0]]
        texts = {"model": " ".join(words_of(entry)), "unlocks": f"extractors {', '.join(names)}"}
        sources[name] = NetworkSource(benchmark=benchmark, provides=[f"{network_folder(entry)}/"], **texts)
    return sources


class Downloads:
    """Hold the sources of one benchmark (`table`, by name, in the order of preference), and which of them `root` needs.

    are_allowed: whether anything may be fetched; if not, none is needed.
    """

    def __init__(self, root: str, table: dict[str, Source], are_allowed: bool = True):
        self.root = root
        self.are_allowed = are_allowed
        self.table = table
        for name, source in table.items():
            self._check_fallback(name, source)
        fallbacks = {source.fallback for source in table.values()}
        self._chosen = {name: source for name, source in table.items() if name not in fallbacks}
        # A file that is not downloaded yet has no content to make a token from. Its token is new at each start until a
        # download records it, so no other content can have it.
        self._fresh = secrets.token_hex(8)

    def _check_fallback(self, name: str, source: Source) -> None:
        if source.fallback is None:
            return
        key = f"config key sources.{name}.fallback"
        if source.fallback not in self.table or source.fallback == name:
            raise InputError(f"{key} is {source.fallback!r}; expected another source of benchmark {source.benchmark}")
        if lacking := set(source.provides) - set(self.table[source.fallback].provides):
            raise InputError(f"{key}: source {source.fallback} does not provide {', '.join(sorted(lacking))}")

    def source_of(self, path: str) -> str | None:
        """Return the source that provides `path` (below the root), or the folder that it is in."""
        for name, source in self._chosen.items():
            if any(covers(provided, path) for provided in source.provides):
                return name
        return None

    def needed(self, paths: list[str]) -> list[str]:
        """Return the sources to fetch so that the root has `paths`; a path that no source provides needs none."""
        names = [self.source_of(path) for path in paths if self.are_allowed and self._is_to_come(path)]
        return list(dict.fromkeys(name for name in names if name))

    def sources_of(self, paths: list[str]) -> list[str]:
        """Return the sources that have brought, or are to bring, some of `paths`."""
        names = dict.fromkeys(name for path in paths if (name := self.source_of(path)))
        needed = self.needed(paths)
        return [name for name in names if name in needed or self._recorded(name)]

    def missing(self, name: str, paths: list[str]) -> list[str]:
        """Return those of `paths` that source `name` provides and the root lacks."""
        return [path for path in paths if self.source_of(path) == name and not is_there(self.root, path)]

    def _is_to_come(self, path: str) -> bool:
        """Return whether the root lacks `path`, or a download was interrupted between bringing and recording it."""
        if not is_there(self.root, path):
            return True
        name = self.source_of(path)
        return name is not None and (Path(self.state) / name).is_dir() and not Path(self.record_path(name)).exists()

    @property
    def state(self) -> str:
        """Return the folder of all that downloads note."""
        return f"{self.root}/{STATE}"

    def record_path(self, name: str) -> str:
        """Return the path of the record of what source `name` gave."""
        return f"{self.state}/{name}.csv"

    @cache  # noqa: B019  a run has one table of sources
    def _recorded(self, name: str) -> Record | None:
        return read_record(self.record_path(name))

    def token(self, name: str) -> str:
        """Return what stands for the content of source `name`: recorded, or what its download will record."""
        return recorded_token(self.record_path(name)) or digest("download", name, self._fresh)

    def file_token(self, path: str) -> str | None:
        """Return what stands for the file `path`, or the folder of a network's files, if a download brought it as it is, or
        will bring it; otherwise None.
        """
        name = self.source_of(path)
        if name is None:
            return None
        if is_there(self.root, path):
            files = files_below(self.root, path)
            if not all(is_as_recorded(self._recorded(name), self.root, file) for file in files):
                return None
        return digest(self.token(name), path)

    def note_touched(self) -> None:
        """Put new time stamps of unchanged files into the records, so that they are not read at every start.

        After a job, Snakemake touches the files that the job has recorded. The record's own time stamp stays: a newer one
        would make jobs run.
        """
        for name in self._chosen:
            record = read_record(self.record_path(name))
            touched = [
                take_fingerprint(self.root, file)
                for file, known in (record.fingerprints if record else {}).items()
                if (path := Path(self.root, file)).is_file() and path.stat().st_mtime_ns != known.mtime_ns
            ]
            unchanged = {f.path: f for f in touched if f.sha256 == record.fingerprints[f.path].sha256}
            if unchanged:
                times = os.stat(self.record_path(name))
                note_touched(self.record_path(name), unchanged)
                os.utime(self.record_path(name), ns=(times.st_atime_ns, times.st_mtime_ns))

    def described(self, name: str) -> str:
        """Return size, origin and licence of source `name`, for people."""
        source = self.table[name]
        return f"{'unknown size' if source.size is None else human(source.size)}, {origin(source)}, {source.licence}"
