"""Collections: named lists of images, from split files, folders, list files or feature files.

A split's collection holds its exemplars, then its queries, in the order of the split file; a database's holds the images
of a folder (sorted by path), of a list file, or of a feature file (in the file's order).
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from attribench.common.errors import InputError
from attribench.formats.feature_files import files_of, open_feature_file
from attribench.formats.manifest import ManifestRow, read_list_file

# Raise when manifests change: all that is made of them is then made anew.
VERSION = 1
# Upper case too: ImageNet's files end in .JPEG.
IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def given_files(root: Path | str, listing: dict[str, str], limit: int | None) -> list[str]:
    """Return the given files that `collect` reads or lists. A feature file is not opened for it."""
    if listing["origin"] == "features":
        return [file for name, path in listing.items() if name != "origin" for file in files_of(path)]
    if "folder" in listing:  # may hold a million images, and is listed at every start: rows would take too long
        return list_folder(root, listing["folder"])[:limit]
    return collect(root, listing, limit)[1]


def collect(root: Path | str, listing: dict[str, str], limit: int | None) -> tuple[list[ManifestRow], list[str]]:
    """Return the rows of a collection, and the given files (relative to `root`) that they come from.

    listing: one of `split`, `folder`, `list` or `features` with its path below `root`; and `origin`, which is `images` or
    `features`. limit: the number of database images to take, None for all.
    """
    if "split" in listing:
        rows, files = read_split_file(Path(root) / listing["split"]), [listing["split"]]
    elif "folder" in listing:
        folder = listing["folder"]
        rows, files = database_rows(folder, list_folder(root, folder), limit), []
    elif "list" in listing:
        file = listing["list"]
        rows, files = database_rows(file, read_list_file(Path(root) / file), limit), [file]
    else:
        file = listing["features"]
        with open_feature_file(Path(root) / file) as parts:
            paths = [path for part in parts for path in part.paths]
        rows, files = database_rows(file, paths, limit), files_of(file)
    images = [row.path for row in rows] if listing["origin"] == "images" else []
    return rows, files + images


def read_split_file(path: Path | str) -> list[ManifestRow]:
    """Return the rows of the split file at `path` (the published JSON format), exemplars before queries.

    Raises InputError for a file that is missing, is not JSON or has another form, and for an empty split, an entry
    without exemplars or queries, prompt types that differ between entries, and a path that is listed twice.
    """
    entries = _load_entries(path)
    prompt_types = list(entries[0]["synth"])
    exemplars, queries = [], []
    for number, entry in enumerate(entries):
        _check_entry(f"{path}: entry {number} (class_id {entry.get('class_id')!r})", entry, prompt_types)
        labels = {"class_id": _text(entry.get("class_id")), "category": _text(entry.get("category"))}
        exemplars += [ManifestRow(file, "exemplar", number, **labels) for file in entry["exemplar"]]
        for prompt_type in prompt_types:
            files = entry["synth"][prompt_type]
            queries += [ManifestRow(file, "query", number, prompt_type, **labels) for file in files]
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


def _check_entry(name: str, entry: dict, prompt_types: list[str]) -> None:
    """Raise InputError, calling the entry `name`, unless it has exemplars and queries, and all of `prompt_types`."""
    lists = {"exemplar": entry.get("exemplar")}
    if not isinstance(entry.get("synth"), dict):
        raise InputError(f"{name}: `synth` is {entry.get('synth')!r}; expected prompt types with lists of paths")
    if sorted(entry["synth"]) != sorted(prompt_types):
        raise InputError(
            f"{name}: prompt types are {sorted(entry['synth'])}; expected {sorted(prompt_types)}, those of entry 0"
        )
    lists |= {f"synth.{prompt_type}": entry["synth"][prompt_type] for prompt_type in prompt_types}
    for key, paths in lists.items():
        if not isinstance(paths, list) or not all(isinstance(path, str) and path for path in paths):
            raise InputError(f"{name}: `{key}` is {str(paths)[:80]}; expected a list of paths")
    if not entry["exemplar"]:
        raise InputError(f"{name}: has no exemplars; expected at least one path in `exemplar`")
    if not any(entry["synth"].values()):
        raise InputError(f"{name}: has no queries; expected at least one path in `synth`")
    for path in (path for paths in lists.values() for path in paths):
        if os.path.isabs(path) or ".." in Path(path).parts:
            raise InputError(f"{name}: path {path!r}; expected a path below the benchmark root")


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _refuse_duplicates(listed_in: Path | str, paths: Iterable[str]) -> None:
    seen: set[str] = set()
    repeated = [path for path in paths if path in seen or seen.add(path)]
    if repeated:
        raise InputError(
            f"{listed_in}: {len(repeated)} path(s) listed more than once, first {repeated[0]!r}; list each once"
        )


def list_folder(root: Path | str, folder: str) -> list[str]:
    """Return the paths, relative to `root`, of the images below `root/folder`, sorted, without hidden files and folders."""
    top = os.path.join(root, folder)
    if not os.path.isdir(top):
        raise InputError(f"{top}: the database folder does not exist; expected a folder of images")
    paths = []
    for parent, folders, files in os.walk(top, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = os.path.relpath(parent, root)
        paths += [
            f"{relative}{os.sep}{name}"
            for name in files
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
        ]
    for path in paths:
        if not path.isprintable() and path != path.encode(errors="ignore").decode():
            raise InputError(f"{os.fsencode(path)!r}: the file name is not UTF-8; expected one that is")
    if not paths:
        raise InputError(f"{top}: holds no image; expected files ending in {', '.join(IMAGE_SUFFIXES)}")
    return sorted(paths)


def database_rows(listed_in: str, paths: list[str], limit: int | None = None) -> list[ManifestRow]:
    """Return the rows of a database of `paths`, which `listed_in` names; only the first `limit`, unless it is None."""
    chosen = paths[:limit] if limit else paths
    _refuse_duplicates(listed_in, chosen)
    return [ManifestRow(path, "database") for path in chosen]
