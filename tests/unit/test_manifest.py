"""Collections: what a split file, a folder and a list file become, and what is refused."""

import json

import pytest
from attribench.common.errors import InputError
from attribench.formats.manifest import (
    manifest_length,
    manifest_paths,
    read_manifest,
    shard_names,
    shard_paths,
    shard_slice,
    write_manifest,
)
from attribench.manifest import VERSION, collect, database_rows, read_split_file
from helpers import golden_bytes
from helpers.feature_files import PATHS, write_feature_file

ENTRY = {
    "exemplar": ["d/e0.jpg"],
    "synth": {"gpt": ["d/q0.jpg"], "object": ["d/q1.jpg"]},
    "class_id": "a",
    "category": None,
}


def entry(number, **changes):
    """A valid entry whose paths carry `number`."""
    fresh = json.loads(json.dumps(ENTRY).replace("d/", f"d{number}/"))
    return {**fresh, **changes}


def split_file(tmp_path, entries):
    path = tmp_path / "split.json"
    path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return path


def test_a_split_is_its_exemplars_then_its_queries(tmp_path):
    rows = read_split_file(split_file(tmp_path, [entry(0), entry(1, category="bird")]))
    assert [(row.path, row.role, row.entry, row.prompt_type, row.category) for row in rows] == [
        ("d0/e0.jpg", "exemplar", 0, "", ""),
        ("d1/e0.jpg", "exemplar", 1, "", "bird"),
        ("d0/q0.jpg", "query", 0, "gpt", ""),
        ("d0/q1.jpg", "query", 0, "object", ""),
        ("d1/q0.jpg", "query", 1, "gpt", "bird"),
        ("d1/q1.jpg", "query", 1, "object", "bird"),
    ]
    write_manifest(tmp_path / "m.csv", rows)
    assert read_manifest(tmp_path / "m.csv") == rows


REFUSED = {
    "empty split": ([], "the split is empty"),
    "no JSON": ("[{", "not a JSON file"),
    "no list": ({"a": 1}, "expected a list of entries"),
    "no exemplars": ([entry(0), entry(1, exemplar=[])], "entry 1 .*no exemplars"),
    "no queries": ([entry(0, synth={"gpt": [], "object": []})], "entry 0 .*no queries"),
    "prompt types differ": ([entry(0), entry(1, synth={"gpt": ["x.jpg"]})], "entry 1 .*prompt types are .'gpt'."),
    "no synth": ([entry(0), {"exemplar": ["a"], "class_id": "b"}], "entry 1 .*`synth`"),
    "no list of paths": ([entry(0, exemplar="a.jpg")], "entry 0 .*`exemplar` is a.jpg"),
    "the same path twice": ([entry(0), entry(0)], "3 path.*'d0/e0.jpg'"),
    "a query that is an exemplar": ([entry(0, synth={"gpt": ["d0/e0.jpg"], "object": []})], "'d0/e0.jpg'"),
    "a path outside the root": ([entry(0, exemplar=["../x.jpg"])], "'../x.jpg'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_split_files_are_refused(tmp_path, name):
    content, message = REFUSED[name]
    with pytest.raises(InputError, match=message) as error:
        read_split_file(split_file(tmp_path, content))
    assert "split.json" in str(error.value)


def test_a_missing_split_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no.json: the split file does not exist"):
        read_split_file(tmp_path / "no.json")


def test_a_folder_is_its_images_by_path(tmp_path):
    for name in ("b/2.PNG", "b/1.jpeg", "a.JPEG", ".hidden/3.jpg", "b/.4.jpg", "notes.txt"):
        (tmp_path / "db" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "db" / name).write_bytes(b"x")
    rows, files = collect(tmp_path, {"folder": "db", "origin": "images"}, None)
    assert [row.path for row in rows] == ["db/a.JPEG", "db/b/1.jpeg", "db/b/2.PNG"] == files
    assert {row.role for row in rows} == {"database"}
    assert [row.path for row in collect(tmp_path, {"folder": "db", "origin": "images"}, 2)[0]] == files[:2]


def test_a_list_file_is_its_lines(tmp_path):
    (tmp_path / "list.txt").write_text("z.jpg\n\na.jpg\n")
    rows, files = collect(tmp_path, {"list": "list.txt", "origin": "images"}, None)
    assert [row.path for row in rows] == ["z.jpg", "a.jpg"]
    assert files == ["list.txt", "z.jpg", "a.jpg"]
    (tmp_path / "list.txt").write_text("a.jpg\na.jpg\n")
    with pytest.raises(InputError, match=r"list.txt: 1 path\(s\) listed more than once, first 'a.jpg'"):
        collect(tmp_path, {"list": "list.txt", "origin": "images"}, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"folder": "none", "origin": "images"}, "none: the database folder does not exist"),
        ({"folder": "empty", "origin": "images"}, "empty: holds no image"),
        ({"list": "none.txt", "origin": "images"}, "none.txt: the list file does not exist"),
        ({"list": "blank.txt", "origin": "images"}, "blank.txt: lists no image"),
    ],
)
def test_an_empty_database_is_refused(tmp_path, given, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.txt").write_text("\n")
    with pytest.raises(InputError, match=message):
        collect(tmp_path, given, None)


def test_a_feature_file_is_its_paths_in_its_order(tmp_path):
    write_feature_file(tmp_path, "npz")
    rows, files = collect(tmp_path, {"features": "source.npz", "origin": "features"}, 4)
    assert [row.path for row in rows] == PATHS[:4]
    assert files == ["source.npz"]


@pytest.mark.parametrize("n", [0, 1, 7, 100])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_shards_are_the_whole_in_order(tmp_path, n, count):
    rows = database_rows("db", [f"{i}.png" for i in range(n)])
    write_manifest(tmp_path / "m.csv", rows)
    names = shard_names(count)
    assert names[-1] == f"{count - 1:05d}-of-{count:05d}"
    slices = [shard_slice(n, name) for name in names]
    assert [row for rows_of_shard in slices for row in rows[rows_of_shard]] == rows
    sizes = [rows_of_shard.stop - rows_of_shard.start for rows_of_shard in slices]
    assert max(sizes) - min(sizes) <= 1
    assert manifest_length(tmp_path / "m.csv") == n
    paths = list(manifest_paths(tmp_path / "m.csv"))
    assert paths == [row.path for row in rows]
    for name, rows_of_shard in zip(names, slices, strict=True):
        assert shard_paths(tmp_path / "m.csv", name) == (paths[rows_of_shard], rows_of_shard.start)


def test_golden_bytes(tmp_path):
    entries = [entry(0, category='a, "b"'), entry(1, class_id=7)]
    split_file(tmp_path, entries)
    (tmp_path / "list.txt").write_text("é 1.jpg\nb.jpg\nc.jpg\n", encoding="utf-8")
    write_feature_file(tmp_path, "split.pth")
    for name in ("2.PNG", "b/1.jpeg", "b/.3.jpg", "a.txt"):
        (tmp_path / "db" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "db" / name).touch()
    made = {}
    for listing in ({"split": "split.json"}, {"folder": "db"}, {"list": "list.txt"}, {"features": "source.split.pth"}):
        [(name, _)] = listing.items()
        rows, _ = collect(tmp_path, {**listing, "origin": "features" if name == "features" else "images"}, 2)
        write_manifest(tmp_path / "m.csv", rows)
        made[name] = (tmp_path / "m.csv").read_text(encoding="utf-8")
    golden_bytes.check("manifest", VERSION, made)
