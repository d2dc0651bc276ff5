"""Which sources a run needs: those that provide a path which is asked for and not there."""

import secrets
from pathlib import Path

from attribench import sources
from attribench.download.place import is_there
from attribench.download.run import STATE
from attribench.download.table import Source, covers
from attribench.errors import InputError
from attribench.identity import digest


class Downloads:
    """The sources of one benchmark, `table` by name in the order of preference, and the state of `root`."""

    def __init__(self, root: str, table: dict[str, Source]):
        self.root = root
        self.table = table
        for name, source in table.items():
            self._check_fallback(name, source)
        fallbacks = {source.fallback for source in table.values()}
        self._chosen = {name: source for name, source in table.items() if name not in fallbacks}
        # A file that has not come yet has no content to stand for it. Its token is new at each start, until a download
        # records it: content that comes later cannot be taken for it.
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
        """The source that provides `path` (below the root), or the folder that it is in."""
        for name, source in self._chosen.items():
            if any(covers(provided, path) for provided in source.provides):
                return name
        return None

    def rows(self, name: str) -> list[tuple[str, dict]]:
        """The row of source `name`, and that of its fallback if it has one, each with its name."""
        names = [name, self.table[name].fallback]
        return [(n, self.table[n].model_dump(mode="json")) for n in names if n]

    def needed(self, paths: list[str]) -> list[str]:
        """The sources that have to be fetched so that the root has `paths`; a path that no source provides needs none."""
        names = [self.source_of(path) for path in paths if not is_there(self.root, path) or self._is_unfinished(path)]
        return list(dict.fromkeys(name for name in names if name))

    def _is_unfinished(self, path: str) -> bool:
        """Whether a download of the path was interrupted after it had come and before it was recorded."""
        name = self.source_of(path)
        return name is not None and (Path(self.state) / name).is_dir() and not Path(self.record(name)).exists()

    @property
    def state(self) -> str:
        """The folder of all that downloads note."""
        return f"{self.root}/{STATE}"

    def record(self, name: str) -> str:
        """The record of what source `name` gave."""
        return f"{self.state}/{name}.csv"

    def token(self, name: str) -> str:
        """What stands for the content of source `name`: the recorded token, or the one that its download will record."""
        return sources.recorded_token(self.record(name)) or digest("download", name, self._fresh)

    def file_token(self, path: str) -> str | None:
        """What stands for the file `path` if it came by a download, as it was then, or will; otherwise None."""
        name = self.source_of(path)
        if name is None:
            return None
        if not is_there(self.root, path):
            return digest(self.token(name), path)
        recorded = sources.is_as_recorded(self.record(name), self.root, path)
        return digest(self.token(name), path) if recorded else None
