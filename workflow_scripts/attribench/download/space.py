"""Tell what a run downloads, as a table, and whether the disk can hold it, before any job starts."""

import shutil
from pathlib import Path

from attribench.common.errors import InputError
from attribench.download.partial import fetched_bytes
from attribench.download.table import Source, origin

_UNITS = ("B", "kB", "MB", "GB", "TB")


class Budget:
    """Add up the sources that are fetched, one after another, into the folder `state`."""

    def __init__(self, state: str, keep_archives: bool):
        self.state = Path(state)
        self.keep_archives = keep_archives
        self._sources: dict[str, Source] = {}
        self._rows: list[tuple[str, ...]] = []

    @property
    def table(self) -> str:
        """Return the table of what was added, with one line for each source; no text if nothing was."""
        rows = [("download", "to fetch", "disk in all", "free", "from", "licence", "for"), *self._rows]
        name, where = (max(len(row[column]) for row in rows) for column in (0, 4))
        lines = [
            f"{row[0]:{name}}  {row[1]:>9} {row[2]:>12}  {row[3]:18} {row[4]:{where}}  {row[5]:16} {row[6]}"
            for row in rows
        ]
        return "\n".join(lines) if self._rows else ""

    def add(self, name: str, source: Source) -> None:
        """Add source `name`, if it is not among the others yet."""
        if name in self._sources:
            return
        self._sources[name] = source
        # Of a download that was interrupted, only the rest is to fetch.
        size = "unknown" if source.size is None else human(max(0, source.size - fetched_bytes(self.state / name)))
        need, free = self.need(), self.free()
        known = "" if all(s.size is not None for s in self._sources.values()) else "> "
        short = "" if need <= free else " too little"
        numbers = (size, known + human(need), human(free) + short)
        self._rows.append((name, *numbers, origin(source), source.licence, source.unlocks))

    def refuse_if_too_large(self) -> None:
        """Raise InputError when the sources need more than is free on the root's disk."""
        need, free = self.need(), self.free()
        if need > free:
            raise InputError(
                f"{self.state.parent}: the disk has {human(free)} free; expected {human(need)} for the downloads "
                f"{', '.join(self._sources)}, unpacking included. Make room, or set `root` to a folder on a larger disk"
            )

    def need(self) -> int:
        """Return the bytes that have to be free: what stays of each source, and the largest archive beside its content.

        Images and tensors hardly shrink when they are packed: the content counts as large as the archive.
        """
        stays, temporary = 0, [0]
        for name, source in self._sources.items():
            size = source.size or 0
            packed = size if source.unpack != "none" else 0
            stays += size + packed * self.keep_archives - min(size, fetched_bytes(self.state / name))
            temporary.append(packed * (not self.keep_archives))
        return stays + max(temporary)

    def free(self) -> int:
        """Return the bytes free on the disk of the root, which need not exist yet."""
        folder = self.state.absolute()
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free


def human(count: int) -> str:
    """Return `count` bytes in a unit for people: `13.3 GB`."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.{min(unit, 1)}f} {_UNITS[unit]}"
