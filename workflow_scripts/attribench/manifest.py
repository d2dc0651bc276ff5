"""Collections: named lists of images, from split files, folders, list files or feature files.

A split's collection holds its exemplars, then its queries, in the order of the split file; a database's holds the images
of a folder (sorted by path), of a list file, or of a feature file (in the file's order).
"""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from attribench.common.errors import InputError, nearest
from attribench.common.folders import LeftOut, Listing, count_left_out, left_out_text, list_images
from attribench.common.tables_io import write_rows
from attribench.common.text_files import csv_rows, read_json
from attribench.formats.feature_files import files_of, open_feature_file
from attribench.formats.manifest import ManifestRow, read_list_file

# Raise when manifests change: all that is made of them is then made anew.
VERSION = 1
_ENTRY_KEYS = ("exemplar", "synth", "class_id", "category")


class Collection(NamedTuple):
    """Hold a collection's rows, the given files (relative to the root) that they come from, and what was left out."""

    rows: list[ManifestRow]
    files: list[str]
    left_out: list[LeftOut]


def given_files(root: Path | str, listing: dict[str, str], limit: int | None) -> list[str]:
    """Return the given files that `collect` reads or lists. A feature file is not opened for it."""
    if listing["origin"] == "features":
        return [file for name, path in listing.items() if name != "origin" for file in files_of(path)]
    if "folder" in listing:  # may hold a million images, and is listed at every start: rows would take too long
        return list_folder(root, listing["folder"]).images[:limit]
    return collect(root, listing, limit).files


def collect(
    root: Path | str, listing: dict[str, str], limit: int | None, images: dict[str, str] | None = None
) -> Collection:
    """Return a collection's images, given files and what was left out.

    listing: one of `split`, `folder`, `list` or `features` with its path below `root`; and `origin`, which is `images` or
    `features`. limit: the number of database images to take, None for all. images: the `folder` or `list` of the images that
    a feature file is of, if the config names one: those that the file lacks are left out.
    """
    left_out: list[LeftOut] = []
    if "split" in listing:
        rows, files = read_split_file(Path(root) / listing["split"]), [listing["split"]]
    elif "folder" in listing:
        folder = listing["folder"]
        paths, left_out = list_folder(root, folder)
        rows, files = database_rows(folder, paths, limit), []
    elif "list" in listing:
        file = listing["list"]
        rows, files = database_rows(file, read_list_file(Path(root) / file), limit), [file]
    else:
        file = listing["features"]
        with open_feature_file(Path(root) / file) as parts:
            paths = [path for part in parts for path in part.paths]
        rows, files = database_rows(file, paths, limit), files_of(file)
        left_out = _without_features(root, file, paths, images)
    read = [row.path for row in rows] if listing["origin"] == "images" else []
    return Collection(rows, files + read, left_out)


def _without_features(root: Path | str, file: str, paths: list[str], images: dict[str, str] | None) -> list[LeftOut]:
    """Count those of `images`, as `collect` takes them, that are not among the `paths` of the feature file `file`.

    Where it has none of them, it calls them otherwise, or is of others, and nothing can be said.
    """
    try:
        if images and "folder" in images:
            listed = list_folder(root, images["folder"]).images
        else:
            listed = read_list_file(Path(root) / images["list"]) if images else []
    except InputError:  # features need no images
        return []
    known = set(map(_plain, paths))
    missing = [path for path in listed if _plain(path) not in known]
    if len(missing) == len(listed):
        return []
    return count_left_out((f"not in {file}", os.path.splitext(path)[1].lower(), path) for path in missing)


def write_left_out(path: Path | str, collection: str, rows: list[LeftOut]) -> None:
    """Write what was left out of `collection` as CSV, atomically."""
    write_rows(path, [("collection", *LeftOut._fields), *((collection, *row) for row in rows)])


def read_left_out(path: Path | str) -> list[LeftOut]:
    """Return the rows that `write_left_out` wrote."""
    with open(path, encoding="utf-8", newline="") as file:
        _, *rows = csv_rows(file, path, "a list of what was left out")
    return [LeftOut(why, ending, int(count), example) for _, (_, why, ending, count, example) in rows]


def read_split_file(path: Path | str) -> list[ManifestRow]:
    """Return the rows of the split file at `path` (the published JSON format), exemplars before queries.

    An image may be an exemplar of several entries; it has a row for each. Raises InputError for a file that is missing, is
    not JSON or has another form, and for an empty split, an entry without exemplars or queries, prompt types that differ
    between entries, and any other path that is listed twice.
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
    own = Counter((row.entry, _plain(row.path)) for row in exemplars)
    for (entry, file), count in own.items():
        if count > 1:
            raise InputError(f"{path}: entry {entry} lists the exemplar {file!r} more than once; list it once")
    _refuse_duplicates(path, [*dict.fromkeys(file for _, file in own), *(row.path for row in queries)])
    return exemplars + queries


def read_prompts(path: Path | str) -> dict[str, str]:
    """Return the prompts that the split file at `path` gives, by the path of the query that was made from each.

    An entry may have `prompts` beside `synth`: for some or all prompt types, as many texts. Raises InputError for others.
    """
    prompts = {}
    for number, entry in enumerate(_load_entries(path)):
        for prompt_type, texts in _prompts_of(f"{path}: entry {number}", entry).items():
            prompts |= zip(entry["synth"][prompt_type], texts, strict=True)
    return prompts


def _prompts_of(name: str, entry: dict) -> dict[str, list[str]]:
    """Return the `prompts` of an entry, called `name`, by prompt type. Raises InputError unless its queries have as many."""
    prompts, synth = entry.get("prompts", {}), entry["synth"]
    if not isinstance(prompts, dict) or not prompts.keys() <= synth.keys():
        raise InputError(f"{name}: `prompts` is {str(prompts)[:80]}; expected texts by prompt type, as in `synth`")
    for prompt_type, texts in prompts.items():
        n = len(synth[prompt_type])
        if not isinstance(texts, list) or len(texts) != n or not all(isinstance(text, str) for text in texts):
            raise InputError(
                f"{name}: `prompts.{prompt_type}` is {str(texts)[:80]}; expected {n} texts, one for each of "
                f"`synth.{prompt_type}`"
            )
    return prompts


def _load_entries(path: Path | str) -> list[dict]:
    entries = read_json(path, "split file", "a JSON list of entries")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path}: found {type(entries).__name__}; expected a list of entries")
    if not entries:
        raise InputError(f"{path}: the split is empty; expected at least one entry")
    for number, entry in enumerate(entries):
        _refuse_misspelt(f"{path}: entry {number}", entry)
    if not isinstance(entries[0].get("synth"), dict):
        raise InputError(f"{path}: entry 0 has no `synth`; expected a mapping of prompt types to lists of paths")
    return entries


def _refuse_misspelt(name: str, entry: dict) -> None:
    """Raise InputError for a key that is no entry's, but near one that the entry lacks; others count for nothing."""
    lacking = [key for key in _ENTRY_KEYS if key not in entry]
    for key in entry:
        if key not in _ENTRY_KEYS and (hint := nearest(key, lacking, 0.75)):
            raise InputError(f"{name}: unknown key `{key}`{hint} An entry's keys are {', '.join(_ENTRY_KEYS)}")


def _check_entry(name: str, entry: dict, prompt_types: list[str]) -> None:
    """Raise InputError, calling the entry `name`, unless it has exemplars, queries of `prompt_types`, and right prompts."""
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
    _prompts_of(name, entry)
    for path in (path for paths in lists.values() for path in paths):
        if os.path.isabs(path) or ".." in path.split("/"):
            raise InputError(f"{name}: path {path!r}; expected a path below the benchmark root")


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _refuse_duplicates(listed_in: Path | str, paths: Iterable[str]) -> None:
    seen: set[str] = set()
    repeated = [path for path in paths if (plain := _plain(path)) in seen or seen.add(plain)]
    if repeated:
        raise InputError(
            f"{listed_in}: {len(repeated)} path(s) listed more than once, first {repeated[0]!r}; list each once"
        )


def _plain(path: str) -> str:
    """Return `path` as it is without `./` and `//`, which lists that `find` makes have."""
    return os.path.normpath(path) if "./" in path or "//" in path else path


def list_folder(root: Path | str, folder: str) -> Listing:
    """Return the images below `root/folder` and what is left out, with paths relative to `root`."""
    top = os.path.join(root, folder)
    images, left_out = list_images(top, "database folder")
    if not images:
        found = left_out_text(left_out) or "nothing"
        raise InputError(f"{top}: holds no image, but {found}; expected image files, such as .jpg and .png")
    beginning = _below_root(root, top)
    return Listing(
        [beginning + path for path in images], [row._replace(example=beginning + row.example) for row in left_out]
    )


def _below_root(root: Path | str, folder: str) -> str:
    """Return what leads from `root` to `folder`, ending in `/`; empty for the root itself."""
    path = os.path.relpath(folder, root)
    try:
        leads_there = os.path.samefile(os.path.join(root, path), folder)
    except OSError:
        leads_there = False
    if not leads_there:  # `..` leads to where the root really lies, not to where a link to it does
        path = os.path.relpath(os.path.realpath(folder), os.path.realpath(root))
    return "" if path == "." else f"{path}/"


def shared_images(root: Path | str, database: Iterable[str], split: Iterable[str]) -> list[tuple[str, str]]:
    """Return each image of the database that is one of the split: both paths below `root`, to the same file.

    They are the same if their paths lead there, through links to files or folders; files need not be there.
    """
    folders: dict[str, tuple[str, set[str]]] = {}  # where each really lies, and the links in it

    def resolved(path: str) -> str:
        folder, _, name = path.rpartition("/")
        if folder not in folders:
            real = os.path.realpath(os.path.join(root, folder))
            folders[folder] = real, _links_in(real)
        real, links = folders[folder]
        return os.path.realpath(f"{real}/{name}") if name in links else f"{real}/{name}"

    own = {resolved(path): path for path in split}
    return [(path, own[file]) for path in database if (file := resolved(path)) in own]


def _links_in(folder: str) -> set[str]:
    """Return the names of the links in `folder`: one listing is quicker than to ask for each of a million files."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_symlink()}
    except OSError:
        return set()


def database_rows(listed_in: str, paths: list[str], limit: int | None = None) -> list[ManifestRow]:
    """Return the rows of a database of `paths`, which `listed_in` names; only the first `limit`, unless it is None."""
    chosen = paths[:limit] if limit else paths
    _refuse_duplicates(listed_in, chosen)
    return [ManifestRow(path, "database") for path in chosen]
