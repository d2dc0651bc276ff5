"""Collections: what a split file, a folder and a list file become, and what is refused."""

import json
import os

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
from attribench.manifest import (
    VERSION,
    collect,
    database_rows,
    read_left_out,
    read_prompts,
    read_split_file,
    shared_images,
    write_left_out,
)
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
    "the same queries twice": ([entry(0), entry(0)], r"2 path.*'d0/q0.jpg'"),
    "the same query twice": ([entry(0), entry(1, synth={"gpt": ["d0/./q0.jpg"], "object": []})], "'d0/./q0.jpg'"),
    "an exemplar twice in an entry": (
        [entry(0, exemplar=["a.jpg", "./a.jpg"])],
        "entry 0 lists the exemplar 'a.jpg' more",
    ),
    "a key twice": ('[{"exemplar": ["a"], "synth": {"gpt": ["b"], "gpt": ["c"]}}]', "the key 'gpt' is twice"),
    "exemplars": ([{"exemplars": ["a"], "synth": {}}], "entry 0: unknown key `exemplars`; did you mean `exemplar`"),
    "synths": ([entry(0), {"exemplar": ["a"], "Synth": {}}], "entry 1: unknown key `Synth`; did you mean `synth`"),
    "catgory": ([{**entry(0), "catgory": "a", "category": "b"}, {"catgory": "a"}], "entry 1.*did you mean `category`"),
    "a zero byte": ([entry(0, exemplar=["a\0.jpg"])], r"'a.x00.jpg' holds a zero byte"),
    "half a character": ([entry(0, class_id="\udc80")], "half of a surrogate pair"),
    "a query that is an exemplar": ([entry(0, synth={"gpt": ["d0/e0.jpg"], "object": []})], "'d0/e0.jpg'"),
    "a path outside the root": ([entry(0, exemplar=["../x.jpg"])], "'../x.jpg'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_split_files_are_refused(tmp_path, name):
    content, message = REFUSED[name]
    with pytest.raises(InputError, match=message) as error:
        read_split_file(split_file(tmp_path, content))
    assert "split.json" in str(error.value)


def test_an_image_may_be_an_exemplar_of_several_entries(tmp_path):
    entries = [entry(0, exemplar=["a.jpg", "b.jpg"]), entry(1, exemplar=["b.jpg"])]
    split_file(tmp_path, entries)
    rows, files, _ = collect(tmp_path, {"split": "split.json", "origin": "images"}, None)
    exemplars = [(row.path, row.entry) for row in rows if row.role == "exemplar"]
    assert exemplars == [("a.jpg", 0), ("b.jpg", 0), ("b.jpg", 1)]
    assert files == ["split.json", *(row.path for row in rows)], "a file for each row, as shards are cut"


def test_other_keys_of_an_entry_count_for_nothing(tmp_path):
    path = split_file(tmp_path, [{**entry(0), "class_name": "a", "seed": 3}])
    assert read_split_file(path) == read_split_file(split_file(tmp_path, [entry(0)]))


def test_a_missing_split_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no.json: the split file does not exist"):
        read_split_file(tmp_path / "no.json")


def test_a_folder_is_its_images_by_path(tmp_path):
    for name in ("b/2.PNG", "b/1.jpeg", "a.JPEG", ".hidden/3.jpg", "b/.4.jpg", "notes.txt"):
        (tmp_path / "db" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "db" / name).write_bytes(b"x")
    rows, files, _ = collect(tmp_path, {"folder": "db", "origin": "images"}, None)
    assert [row.path for row in rows] == ["db/a.JPEG", "db/b/1.jpeg", "db/b/2.PNG"] == files
    assert {row.role for row in rows} == {"database"}
    assert [row.path for row in collect(tmp_path, {"folder": "db", "origin": "images"}, 2)[0]] == files[:2]


def test_a_list_file_is_its_lines(tmp_path):
    (tmp_path / "list.txt").write_text("z.jpg\n\na.jpg\n")
    rows, files, _ = collect(tmp_path, {"list": "list.txt", "origin": "images"}, None)
    assert [row.path for row in rows] == ["z.jpg", "a.jpg"]
    assert files == ["list.txt", "z.jpg", "a.jpg"]
    (tmp_path / "list.txt").write_text("a.jpg\n./a.jpg\n")
    with pytest.raises(InputError, match=r"list.txt: 1 path\(s\) listed more than once, first './a.jpg'"):
        collect(tmp_path, {"list": "list.txt", "origin": "images"}, None)


def test_what_a_folder_has_beside_images_is_counted(tmp_path):
    for name in ("a.jpg", "b.txt", "c/d.txt"):
        (tmp_path / "db" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "db" / name).write_bytes(b"x")
    left_out = collect(tmp_path, {"folder": "db", "origin": "images"}, None).left_out
    write_left_out(tmp_path / "left_out.csv", "photos_database", left_out)
    assert (tmp_path / "left_out.csv").read_text() == (
        "collection,reason,ending,count,example\nphotos_database,no image by its ending,.txt,2,db/b.txt\n"
    )
    assert read_left_out(tmp_path / "left_out.csv") == left_out


def test_images_that_a_feature_file_lacks_are_counted(tmp_path):
    write_feature_file(tmp_path, "npz")
    folder = PATHS[0].partition("/")[0]
    for path in [*PATHS, f"{folder}/new 1.jpg", f"{folder}/new 2.jpg"]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "list.txt").write_text("\n".join([*PATHS[:2], "other.png"]))
    listing = {"features": "source.npz", "origin": "features"}
    rows, files, left_out = collect(tmp_path, listing, 4, {"folder": folder})
    assert [row.path for row in rows] == PATHS[:4] and files == ["source.npz"]
    assert [row[:3] for row in left_out] == [("not in source.npz", ".jpg", 2)]
    [row] = collect(tmp_path, listing, None, {"list": "list.txt"}).left_out
    assert row == ("not in source.npz", ".png", 1, "other.png")
    (tmp_path / "others.txt").write_text("no.png\nneither.png\n")
    for images in ({}, {"folder": "none"}, {"list": "none.txt"}, {"list": "others.txt"}):
        assert collect(tmp_path, listing, None, images).left_out == [], "features need no images, and may be of others"


@pytest.mark.parametrize("root", ["root", "link"])
@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("{here}/elsewhere/db", "../../elsewhere/db/a.jpg"),
        ("{here}/deep/base/db", "db/a.jpg"),
        ("{here}/link/db", "db/a.jpg"),
        ("../../elsewhere/db", "../../elsewhere/db/a.jpg"),
        ("db/../db", "db/a.jpg"),
        ("out/../db", "../../elsewhere/db/a.jpg"),
        (".", "db/a.jpg"),
    ],
)
def test_paths_of_a_folder_lead_there_from_the_root(tmp_path, root, folder, expected):
    """Also where the root is a link, and where `..` comes after one: that leads on from where the link leads."""
    for path in ("deep/base/db", "elsewhere/db", "elsewhere/out"):
        (tmp_path / path).mkdir(parents=True)
    for path in ("deep/base/db/a.jpg", "elsewhere/db/a.jpg"):
        (tmp_path / path).touch()
    (tmp_path / "link").symlink_to("deep/base")
    if folder.startswith("out"):
        (tmp_path / "deep/base/out").symlink_to("../../elsewhere/out")
    start = tmp_path / {"root": "deep/base", "link": "link"}[root]
    _, files, _ = collect(start, {"folder": folder.format(here=tmp_path), "origin": "images"}, None)
    real = os.path.realpath(start / expected)
    assert [os.path.realpath(f"{start}/{file}") for file in files] == [real]
    assert len(files) == 1 and os.path.exists(f"{start}/{files[0]}")


def test_images_are_shared_if_their_paths_lead_to_one_file(tmp_path):
    for path in ("exemplars/e.jpg", "exemplars/f.jpg", "others/d.jpg"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "folder").symlink_to("exemplars")
    (tmp_path / "others/file.jpg").symlink_to("../exemplars/f.jpg")
    split = ["exemplars/e.jpg", "exemplars/f.jpg", "exemplars/gone.jpg"]
    assert shared_images(tmp_path, ["others/d.jpg", "others/e.jpg"], split) == []
    database = ["folder/e.jpg", "others/file.jpg", "./exemplars/gone.jpg", "others/d.jpg"]
    assert shared_images(tmp_path, database, split) == list(zip(database[:3], split, strict=True))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"folder": "none", "origin": "images"}, "none: the database folder does not exist"),
        ({"folder": "empty", "origin": "images"}, "empty: holds no image, but nothing"),
        ({"folder": ".", "origin": "images"}, "holds no image, but 1 no image by its ending .\\.txt 1"),
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
    rows, files, _ = collect(tmp_path, {"features": "source.npz", "origin": "features"}, 4)
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
        rows, *_ = collect(tmp_path, {**listing, "origin": "features" if name == "features" else "images"}, 2)
        write_manifest(tmp_path / "m.csv", rows)
        made[name] = (tmp_path / "m.csv").read_text(encoding="utf-8")
    golden_bytes.check("manifest", VERSION, made)


def test_prompts_belong_to_the_queries(tmp_path):
    entry = {"exemplar": ["e/1.jpg"], "synth": {"gpt": ["q/1.png", "q/2.png"], "media": ["q/3.png"]}}
    other = {"exemplar": ["e/2.jpg"], "synth": {"gpt": [], "media": ["q/4.png"]}}
    path = tmp_path / "split.json"
    path.write_text(json.dumps([entry | {"prompts": {"gpt": ["a cat", "a dog"]}}, other]))
    assert read_prompts(path) == {"q/1.png": "a cat", "q/2.png": "a dog"}
    assert len(read_split_file(path)) == 6
    for prompts, named in (
        ({"gpt": ["a cat"]}, "prompts.gpt.*expected 2 texts"),
        ({"gpt": ["a cat", 2]}, "prompts.gpt"),
        ({"gpt": "ab"}, "prompts.gpt"),
        ({"object": ["a cat"]}, "expected texts by prompt type"),
        (["a cat"], "expected texts by prompt type"),
    ):
        path.write_text(json.dumps([other, entry | {"prompts": prompts}]))
        for read in (read_prompts, read_split_file):
            with pytest.raises(InputError, match=f"split.json: entry 1.*{named}"):
                read(path)
