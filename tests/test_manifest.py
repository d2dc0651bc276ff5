"""Collections: what a split file, a folder and a list file become, and what is refused."""

import json

import pytest
from attribench.errors import InputError
from attribench.manifest import (
    MAX_JOBS,
    collect,
    database_rows,
    job_slices,
    job_starts,
    read_manifest,
    read_split_file,
    shard_names,
    shard_slice,
    write_manifest,
)

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
    rows, files = collect(tmp_path, {"folder": "db", "source": "images"}, None)
    assert [row.path for row in rows] == ["db/a.JPEG", "db/b/1.jpeg", "db/b/2.PNG"] == files
    assert {row.role for row in rows} == {"database"}
    assert [row.path for row in collect(tmp_path, {"folder": "db", "source": "images"}, 2)[0]] == files[:2]


def test_a_list_file_is_its_lines(tmp_path):
    (tmp_path / "list.txt").write_text("z.jpg\n\na.jpg\n")
    rows, files = collect(tmp_path, {"list": "list.txt", "source": "images"}, None)
    assert [row.path for row in rows] == ["z.jpg", "a.jpg"]
    assert files == ["list.txt", "z.jpg", "a.jpg"]
    (tmp_path / "list.txt").write_text("a.jpg\na.jpg\n")
    with pytest.raises(InputError, match=r"list.txt: 1 path\(s\) listed more than once, first 'a.jpg'"):
        collect(tmp_path, {"list": "list.txt", "source": "images"}, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"folder": "none", "source": "images"}, "none: the database folder does not exist"),
        ({"folder": "empty", "source": "images"}, "empty: holds no image"),
        ({"list": "none.txt", "source": "images"}, "none.txt: the list file does not exist"),
        ({"list": "blank.txt", "source": "images"}, "blank.txt: lists no image"),
    ],
)
def test_an_empty_database_is_refused(tmp_path, given, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.txt").write_text("\n")
    with pytest.raises(InputError, match=message):
        collect(tmp_path, given, None)


@pytest.mark.parametrize("n", [0, 1, 7, 100])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_shards_are_the_whole_in_order(n, count):
    rows = list(range(n))
    parts = [rows[shard_slice(n, f"{i:05d}-of-{count:05d}")] for i in range(count)]
    assert [row for part in parts for row in part] == rows
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("count", [1, 7, MAX_JOBS, MAX_JOBS + 1, 10 * MAX_JOBS + 3])
def test_jobs_share_out_the_shards_and_their_rows(count):
    rows = database_rows("db", [f"{i}.png" for i in range(5000)])
    names = shard_names(count)
    starts = job_starts(count)
    assert len(starts) == min(count, MAX_JOBS)
    parts = [part for start in starts for part in job_slices(len(rows), names[start])]
    assert [name for name, _ in parts] == names
    assert [row for _, part in parts for row in rows[part]] == rows
    assert all(part == shard_slice(len(rows), name) for name, part in parts)


def test_a_shard_that_begins_no_job_is_refused():
    with pytest.raises(InputError, match="no job begins with it"):
        job_slices(0, f"00001-of-{10 * MAX_JOBS:05d}")
