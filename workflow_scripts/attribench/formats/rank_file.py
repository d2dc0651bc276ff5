"""The rank file: a `Ranking` as HDF5, from which every metric can be computed without features (docs/formats.md)."""

from pathlib import Path

import h5py
import numpy as np

from attribench.common import hdf5
from attribench.common.errors import InputError
from attribench.formats.ranking import Ranking

FORMAT_VERSION = 2

_ATTRIBUTES = {
    **{"split": str, "extractor": str, "variant": str},
    **{"n_database": int, "n_database_invalid": int, "hard_negatives": bool},
}
# By dataset: the record's field, its type, and a letter for each of its dimensions; equal letters mean equal lengths.
_ARRAYS = {
    "queries/path": ("query_path", "text", "Q"),
    "queries/prompt_type": ("query_prompt_type", "text", "Q"),
    "queries/entry": ("query_entry", "int64", "Q"),
    "queries/valid": ("query_valid", "bool", "Q"),
    "exemplars/path": ("exemplar_path", "text", "E"),
    "exemplars/entry": ("exemplar_entry", "int64", "E"),
    "exemplars/valid": ("exemplar_valid", "bool", "E"),
    "entries/class_id": ("class_id", "text", "M"),
    "entries/category": ("category", "text", "M"),
    "offsets": ("offsets", "int64", "O"),
    "ranks": ("ranks", "int64", "R"),
    "scores": ("scores", "float64", "R"),
    "exemplar": ("exemplar", "int64", "R"),
    "sizes/images": ("sizes", "int64", "S"),
    "sizes/n_database": ("n_database_at", "int64", "S"),
    "sizes/ranks": ("ranks_at", "int64", "SR"),
    "neighbours/index": ("neighbour_index", "int64", "Qk"),
    "neighbours/score": ("neighbour_score", "float64", "Qk"),
    "neighbours/path": ("neighbour_path", "text", "Qk"),
}
# The fields that are lists of tuples: a group each, with a dataset for each part of the tuple.
_LISTS = {
    "invalid": {"collection": "text", "path": "text", "role": "text", "reason": "text"},
    "near_duplicates": {"exemplar": "text", "path": "text", "similarity": "float64"},
}


def write_rank_file(path: Path | str, ranking: Ranking, key: str = "") -> None:
    """Write `ranking` to `path`, atomically, with the `key` of the job; equal content gives equal bytes.

    Raises InputError when the arrays contradict each other.
    """
    _check(path, ranking)
    attributes = {name: getattr(ranking, name) for name in _ATTRIBUTES}
    attributes |= {"trained_on": ranking.trained_on} if ranking.trained_on else {}
    with hdf5.create(path, format_version=FORMAT_VERSION, key=key, **attributes) as file:
        for name, (field, type_, _) in _ARRAYS.items():
            _add(file, name, type_, getattr(ranking, field))
        for field, parts in _LISTS.items():
            columns = zip(*getattr(ranking, field), strict=True) if getattr(ranking, field) else [()] * len(parts)
            for (part, type_), values in zip(parts.items(), columns, strict=True):
                _add(file, f"{field}/{part}", type_, values)


def read_rank_file(path: Path | str) -> Ranking:
    """Read a rank file. Raises InputError, naming the file, when it is missing, corrupt or no rank file."""
    with hdf5.open_checked(path, "rank file") as file, hdf5.damage_as_input_error(path):
        _refuse_other_layout(path, file)
        fields = {name: type_(file.attrs[name]) for name, type_ in _ATTRIBUTES.items()}
        fields["trained_on"] = str(file.attrs.get("trained_on", ""))
        for name, (field, type_, _) in _ARRAYS.items():
            fields[field] = _read(file[name], type_)
        for field, parts in _LISTS.items():
            columns = [_read(file[f"{field}/{part}"], type_).tolist() for part, type_ in parts.items()]
            if len({*map(len, columns)}) > 1:
                raise InputError(f"{path}: {field} has {[*map(len, columns)]} rows; expected as many of each dataset")
            fields[field] = list(zip(*columns, strict=True))
    ranking = Ranking(**fields)
    _check(path, ranking)
    return ranking


def _add(file: h5py.File, name: str, type_: str, values: object) -> None:
    if type_ == "text":
        hdf5.add_texts(file, name, values)
    else:
        hdf5.add_array(file, name, np.asarray(values, type_))


def _read(dataset: h5py.Dataset, type_: str) -> np.ndarray:
    return hdf5.read_texts(dataset) if type_ == "text" else hdf5.read_array(dataset)


def _refuse_other_layout(path: Path | str, file: h5py.File) -> None:
    """Refuse a file of another format, and one that lacks something or holds it in another type."""
    version = file.attrs.get("format_version")
    if version != FORMAT_VERSION or "neighbours" not in file:
        raise InputError(f"{path}: expected a rank file of format {FORMAT_VERSION}, found format {version}")
    if missing := [name for name in _ATTRIBUTES if name not in file.attrs]:
        raise InputError(f"{path}: not a rank file, it lacks the attribute {', '.join(missing)}")
    types = {name: type_ for name, (_, type_, _) in _ARRAYS.items()}
    types |= {f"{field}/{part}": type_ for field, parts in _LISTS.items() for part, type_ in parts.items()}
    if missing := [name for name in types if not isinstance(file.get(name), h5py.Dataset)]:
        raise InputError(f"{path}: not a rank file, it lacks a dataset ({', '.join(missing)})")
    for name, type_ in types.items():
        dtype = file[name].dtype
        if (h5py.check_string_dtype(dtype) is None) if type_ == "text" else (dtype != np.dtype(type_)):
            raise InputError(f"{path}: not a rank file, {name} is {dtype}; expected {type_}")


def _check(path: Path | str, ranking: Ranking) -> None:
    """Refuse arrays of unequal lengths, and ranks that no ranking can have."""
    _check_shapes(path, ranking)
    offsets, ranks, lengths = ranking.offsets, ranking.ranks, np.diff(ranking.offsets)
    if offsets[0] != 0 or offsets[-1] != len(ranks) or (lengths < 0).any():
        raise InputError(f"{path}: offsets do not divide the {len(ranks)} ranks among the queries")
    if not np.array_equal(lengths > 0, ranking.query_valid):
        raise InputError(f"{path}: queries/valid does not say which queries have ranks")
    n_exemplars, n_entries = len(ranking.exemplar_path), len(ranking.class_id)
    for name, end in (("exemplar", n_exemplars), ("queries/entry", n_entries), ("exemplars/entry", n_entries)):
        values = getattr(ranking, _ARRAYS[name][0])
        if len(values) and (values.min() < 0 or values.max() >= end):
            raise InputError(f"{path}: {name} holds {values.min()} to {values.max()}; expected 0 to {end - 1}")
    previous = np.concatenate([[0], ranks[:-1]])
    previous[offsets[:-1][lengths > 0]] = 0
    if (ranks <= previous).any():
        raise InputError(f"{path}: the ranks of a query are not rising from 1 on")
    if (ranks > ranking.n_candidates[ranking.query]).any():
        raise InputError(f"{path}: a rank is not between 1 and the number of candidates")


def _check_shapes(path: Path | str, ranking: Ranking) -> None:
    lengths = {"O": (len(ranking.query_entry) + 1,)}
    for name, (field, _, letters) in _ARRAYS.items():
        shape = np.shape(getattr(ranking, field))
        expected = lengths.setdefault(letters, shape)
        if shape != expected or len(shape) != len(letters):
            raise InputError(f"{path}: {name} has shape {list(shape)}; expected {list(expected)}, as the rest")
    if lengths["Qk"][0] != lengths["Q"][0]:
        raise InputError(f"{path}: {lengths['Qk'][0]} queries have neighbours; expected {lengths['Q'][0]}")
    if lengths["SR"] != lengths["S"] + lengths["R"]:
        raise InputError(
            f"{path}: sizes/ranks has shape {list(lengths['SR'])}; expected {[*lengths['S'], *lengths['R']]}"
        )
