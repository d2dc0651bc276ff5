"""Collections: named lists of images, written as one flat table each.

A split's collection holds its exemplars, then its queries, in the order of the split file; a database's holds the images
of a folder (sorted by path), of a list file, or of a feature file (in the file's order).
"""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from attribench.errors import InputError
from attribench.files import write_text

# Upper case too: ImageNet's files end in .JPEG.
IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class Row(NamedTuple):
    """One image of a collection; `entry` is the entry's number in the split file, None for a database image."""

    path: str
    role: str
    entry: int | None = None
    prompt_type: str = ""
    class_id: str = ""
    category: str = ""


def shard_slice(n_rows: int, shard: str) -> slice:
    """Which of a collection's `n_rows` rows the shard named `IIIII-of-NNNNN` holds.

    The slices of a collection's shards follow one another, and their sizes differ by at most one.
    """
    number, count = map(int, shard.split("-of-"))
    return slice(n_rows * number // count, n_rows * (number + 1) // count)


MAX_JOBS = 400  # of one collection's decoding, or of its extraction by one extractor: Snakemake's graph stays small


def job_starts(count: int) -> list[int]:
    """The first shard of each job, where `count` shards are decoded or extracted by at most MAX_JOBS jobs."""
    jobs = min(count, MAX_JOBS)
    return [count * job // jobs for job in range(jobs)]


def job_shards(shard: str) -> list[str]:
    """The names of the shards that are made by the job whose first one is named `shard`, in order."""
    number, count = map(int, shard.split("-of-"))
    starts = [*job_starts(count), count]
    if number not in starts:
        raise InputError(f"shard {shard}: no job begins with it; those of {count} shards begin with {starts[:3]}, …")
    return shard_names(count)[number : starts[starts.index(number) + 1]]


def job_slices(n_rows: int, shard: str) -> list[tuple[str, slice]]:
    """Each shard of that job, with the slice of the collection's `n_rows` rows that it holds."""
    return [(name, shard_slice(n_rows, name)) for name in job_shards(shard)]


def shard_names(count: int) -> list[str]:
    """The names of a collection's shards: `00000-of-00002`, …"""
    return [f"{i:05d}-of-{count:05d}" for i in range(count)]


def all_shards(files: list[str]) -> list[str]:
    """The paths of all shards of a collection of which `files` are some.

    Snakemake is told of the first only where one job makes them all: its time grows with their number squared.
    """
    path = Path(files[0])
    return [str(path.with_name(name + path.suffix)) for name in shard_names(int(path.stem.split("-of-")[1]))]


def given_files(root: Path | str, given: dict[str, str], limit: int | None) -> list[str]:
    """The given files that `collect` comes upon. A feature file is not opened for it."""
    if given["source"] == "features":
        return [path for kind, path in given.items() if kind != "source"]
    if "folder" in given:  # a million of them, at every start: not by way of rows
        return list_folder(root, given["folder"])[:limit]
    return collect(root, given, limit)[1]


def collect(root: Path | str, given: dict[str, str], limit: int | None) -> tuple[list[Row], list[str]]:
    """The rows of a collection, and the given files (relative to `root`) that they come from.

    given: one of `split`, `folder`, `list` or `features` with its path below `root`, and `source`, `images` or `features`.
    """
    images = given["source"] == "images"
    if "split" in given:
        rows, files = read_split_file(Path(root) / given["split"]), [given["split"]]
    elif "folder" in given:
        rows, files = database_rows(given["folder"], list_folder(root, given["folder"]), limit), []
    elif "list" in given:
        rows, files = database_rows(given["list"], read_list_file(Path(root) / given["list"]), limit), [given["list"]]
    else:
        from attribench.feature_files import open_feature_file

        with open_feature_file(Path(root) / given["features"]) as parts:
            paths = [path for part in parts for path in part.paths]
        rows, files = database_rows(given["features"], paths, limit), [given["features"]]
    return rows, files + [row.path for row in rows] if images else files


def read_split_file(path: Path | str) -> list[Row]:
    """Rows of the split file at `path` (the published JSON format), exemplars before queries.

    Raises InputError for a file that is missing, is not JSON or has another form, and for an empty split, an entry
    without exemplars or queries, prompt types that differ between entries, and a path that is listed twice.
    """
    entries = _load_entries(path)
    prompt_types = list(entries[0]["synth"])
    exemplars, queries = [], []
    for number, entry in enumerate(entries):
        where = f"{path}: entry {number} (class_id {entry.get('class_id')!r})"
        _check_entry(where, entry, prompt_types)
        about = {"class_id": _text(entry.get("class_id")), "category": _text(entry.get("category"))}
        exemplars += [Row(file, "exemplar", number, **about) for file in entry["exemplar"]]
        for prompt_type in prompt_types:
            queries += [Row(file, "query", number, prompt_type, **about) for file in entry["synth"][prompt_type]]
    rows = exemplars + queries
    _refuse_duplicates(path, [row.path for row in rows])
    return rows


def _load_entries(path: Path | str) -> list[dict]:
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise InputError(f"{path}: the split file does not exist; expected a JSON list of entries") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a JSON file ({error}); expected a list of entries") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path}: found {type(entries).__name__}; expected a list of entries")
    if not entries:
        raise InputError(f"{path}: the split is empty; expected at least one entry")
    if not isinstance(entries[0].get("synth"), dict):
        raise InputError(f"{path}: entry 0 has no `synth`; expected a mapping of prompt types to lists of paths")
    return entries


def _check_entry(where: str, entry: dict, prompt_types: list[str]) -> None:
    lists = {"exemplar": entry.get("exemplar")}
    if not isinstance(entry.get("synth"), dict):
        raise InputError(f"{where}: `synth` is {entry.get('synth')!r}; expected prompt types with lists of paths")
    if sorted(entry["synth"]) != sorted(prompt_types):
        raise InputError(
            f"{where}: prompt types are {sorted(entry['synth'])}; expected {sorted(prompt_types)}, those of entry 0"
        )
    lists |= {f"synth.{prompt_type}": entry["synth"][prompt_type] for prompt_type in prompt_types}
    for key, paths in lists.items():
        if not isinstance(paths, list) or not all(isinstance(path, str) and path for path in paths):
            raise InputError(f"{where}: `{key}` is {str(paths)[:80]}; expected a list of paths")
    if not entry["exemplar"]:
        raise InputError(f"{where}: has no exemplars; expected at least one path in `exemplar`")
    if not any(entry["synth"].values()):
        raise InputError(f"{where}: has no queries; expected at least one path in `synth`")
    for path in (path for paths in lists.values() for path in paths):
        if os.path.isabs(path) or ".." in Path(path).parts:
            raise InputError(f"{where}: path {path!r}; expected a path below the benchmark root")


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _refuse_duplicates(where: Path | str, paths: Iterable[str]) -> None:
    seen: set[str] = set()
    repeated = [path for path in paths if path in seen or seen.add(path)]
    if repeated:
        raise InputError(
            f"{where}: {len(repeated)} path(s) listed more than once, first {repeated[0]!r}; list each once"
        )


def list_folder(root: Path | str, folder: str) -> list[str]:
    """Paths, relative to `root`, of all images below `root/folder`, sorted. Hidden files and folders are left out."""
    top = os.path.join(root, folder)
    if not os.path.isdir(top):
        raise InputError(f"{top}: the database folder does not exist; expected a folder of images")
    found = []
    for parent, folders, files in os.walk(top, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = os.path.relpath(parent, root)
        found += [
            f"{relative}{os.sep}{name}"
            for name in files
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
        ]
    for path in found:
        if not path.isprintable() and path != path.encode(errors="ignore").decode():
            raise InputError(f"{os.fsencode(path)!r}: the file name is not UTF-8; expected one that is")
    if not found:
        raise InputError(f"{top}: holds no image; expected files ending in {', '.join(IMAGE_SUFFIXES)}")
    return sorted(found)


def read_list_file(path: Path | str) -> list[str]:
    """The paths in a list file: UTF-8 text, one a line, blank lines ignored."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()  # some editors begin with a mark
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise InputError(f"{path}: the list file does not exist; expected one image path a line") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error}); expected one image path a line") from error
    paths = [line.strip() for line in lines if line.strip()]
    if not paths:
        raise InputError(f"{path}: lists no image; expected one path a line")
    return paths


def database_rows(where: str, paths: list[str], limit: int | None = None) -> list[Row]:
    """Rows of a database of `paths`, only the first `limit` if given."""
    chosen = paths[:limit] if limit else paths
    _refuse_duplicates(where, chosen)
    return [Row(path, "database") for path in chosen]


def write_manifest(path: Path | str, rows: list[Row]) -> None:
    """Write `rows` as CSV, atomically."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(row._replace(entry="" if row.entry is None else row.entry) for row in rows)
    write_text(path, text.getvalue())


def read_manifest(path: Path | str) -> list[Row]:
    """The rows that `write_manifest` wrote."""
    return [Row(p, role, int(entry) if entry else None, *rest) for p, role, entry, *rest in _records(path)]


def manifest_length(path: Path | str) -> int:
    """The number of rows of a manifest, without keeping them."""
    return sum(1 for _ in _records(path))


def manifest_paths(path: Path | str) -> Iterator[str]:
    """The paths of the images of a manifest, in order, without keeping them."""
    return (record[0] for record in _records(path))


def _records(path: Path | str) -> Iterator[list[str]]:
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, None)
        if header != list(Row._fields):
            raise InputError(f"{path}: columns are {header}; expected {list(Row._fields)}")
        yield from rows
