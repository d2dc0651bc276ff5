"""Text files that people write: read without loss, or refused in one line that names the file."""

import json
import os

import pytest
from attribench.common.errors import InputError
from attribench.common.text_files import check_config_file, csv_rows, decimal_number, read_json, read_lines
from helpers.unprivileged import call_unprivileged

# Each is one line to no reader that splits lines at more than `\n`.
SEPARATORS = ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r"]
READERS = {
    "list": lambda path: read_lines(path, "list file", "paths"),
    "JSON": lambda path: read_json(path, "split file", "entries"),
    "YAML": check_config_file,
}
CONTENT = {"list": 'a: "é.jpg"\n', "JSON": '{"a": "é.jpg"}\n', "YAML": 'a: "é.jpg"\n'}


@pytest.mark.parametrize("separator", SEPARATORS, ids=ascii)
def test_a_line_of_a_list_ends_at_its_end_alone(tmp_path, separator):
    names = [f"a{separator}b.jpg", " spaces at the ends ", f"{separator}c", "d"]
    (tmp_path / "l.txt").write_text("\n".join(names) + "\n\n", encoding="utf-8", newline="")
    assert READERS["list"](tmp_path / "l.txt") == names
    if separator != "\r":
        (tmp_path / "l.txt").write_text("\r\n".join(names) + "\r\n \r\n", encoding="utf-8", newline="")
        assert READERS["list"](tmp_path / "l.txt") == names


def test_a_list_of_two_kinds_of_line_ends_is_refused(tmp_path):
    (tmp_path / "l.txt").write_bytes(b"a\nb\r\nc\n")
    with pytest.raises(InputError, match="l.txt: line 2 ends with CR LF and line 1 with LF"):
        READERS["list"](tmp_path / "l.txt")
    (tmp_path / "l.txt").write_bytes(b"a\r\nb")
    assert READERS["list"](tmp_path / "l.txt") == ["a", "b"]


@pytest.mark.parametrize("name", READERS)
def test_a_mark_at_the_beginning_counts_for_nothing(tmp_path, name):
    (tmp_path / "f").write_text(CONTENT[name], encoding="utf-8")
    expected = READERS[name](tmp_path / "f")
    (tmp_path / "f").write_text(CONTENT[name], encoding="utf-8-sig")
    assert READERS[name](tmp_path / "f") == expected


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("utf-16", "the .* file is in UTF-16 or UTF-32; expected .*, in UTF-8"),
        ("utf-32", "the .* file is in UTF-16 or UTF-32"),
        ("utf-16-le", "line 1: (holds a zero byte|not UTF-8)"),
        ("latin-1", "line 1: not UTF-8 text .byte 0xe9"),
    ],
)
def test_another_encoding_is_refused(tmp_path, name, encoding, message):
    (tmp_path / "f").write_text(CONTENT[name], encoding=encoding)
    with pytest.raises(InputError, match=message) as error:
        READERS[name](tmp_path / "f")
    assert str(error.value).startswith(str(tmp_path / "f")) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1, "gpt": [2], "gpt": [3]}]', "the key 'gpt' is twice in one object, after {'a': 1}"),
        ('{"x": {"y": 1, "y": 1}}', "the key 'y' is twice"),
        ('{"x": NaN}', "the number NaN is not finite"),
        ('{"x": -Infinity}', "the number -Infinity is not finite"),
        ('{"x": 1e999}', "the number 1e999 is not finite"),
        ('{"x": ["a\\u0000b"]}', "holds a zero byte"),
        ('{"a\\ud800": 1}', "half of a surrogate pair"),
        ("[" * 100_000, "recursion"),
        ("[1, 2", "line 1 column 6"),
        ("", "line 1 column 1"),
    ],
)
def test_json_that_would_lose_something_is_refused(tmp_path, text, message):
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(InputError, match=f"f.json: not a JSON file .*{message}.*; expected entries"):
        READERS["JSON"](tmp_path / "f.json")


def test_json_holds_any_other_text(tmp_path):
    content = {"a\u2028b\r": ["\x85", "😀", 1.5, 10**30, None]}
    for ascii_only in (True, False):
        (tmp_path / "f.json").write_text(json.dumps(content, ensure_ascii=ascii_only), encoding="utf-8", newline="")
        assert READERS["JSON"](tmp_path / "f.json") == content


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: {c: 2, d: 3}\na: 4\n", "line 3: the key `a` is there twice, first in line 1"),
        ("a:\n- {b: 1, c: {d: 1, 'd': 2}}\n", "line 2: the key `d` is there twice"),
        ('{"a": {"b": 1,\n"b": 2}}', "line 2: the key `b` is there twice"),
        ('{\t"a": 1, "b": 2,\t"a": 3}', "`?'?a'?`? is (there )?twice"),
        ("a: [1\n", "not a YAML file"),
        ("a: 1\n\tb: 2\n", "not a YAML file"),
    ],
)
def test_a_config_file_that_would_lose_something_is_refused(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError, match=f"c.yaml.*{message}") as error:
        check_config_file(tmp_path / "c.yaml")
    assert "\n" not in str(error.value)


def test_a_config_file_may_repeat_what_loses_nothing(tmp_path):
    text = "base: &b {x: 1, y: {z: 2}}\nother: {<<: *b, x: 3}\nthird: {a: {<<: *b, y: 1}, b: *b}\n1: a\n'1': b\n"
    (tmp_path / "c.yaml").write_text(text)
    check_config_file(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text('{\t"a": {"x": 1},\t"b": {"x": 2}}')
    check_config_file(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text("# nothing\n")
    check_config_file(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,a\n1,2,3\n", "line 1: column `a` is there more than once"),
        ("a,b\n1,2\n3\n", "line 3: found 1 fields; expected 2"),
        ("a,b\n1,2,3\n", "line 2: found 3 fields; expected 2"),
        ('a,b\n1,"2\n3,4\n', "not CSV .unexpected end of data"),
        ('a,b\n1,"2"x\n', "line 2: not CSV"),
    ],
)
def test_csv_that_would_lose_something_is_refused(text, message):
    with pytest.raises(InputError, match=f"^t.csv.*{message}"):
        list(csv_rows(text.splitlines(keepends=True), "t.csv", "numbers"))


ODD = {
    "a" * 300: "File name too long",
    "a\0b": "null byte",
    "loop": "Too many levels of symbolic links",
    "folder": "is no file",
    "none": "does not exist",
    "folder/none/x": "does not exist",
    "pipe": "is no file",
}


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_a_path_that_the_system_refuses_is_named_in_one_line(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    for read in READERS.values():
        with pytest.raises(InputError, match=ODD[name]) as error:
            read(f"{tmp_path}/{name}")
        assert "\n" not in str(error.value) and str(error.value).isprintable()


def test_a_file_that_may_not_be_read_is_named(tmp_path):
    (tmp_path / "l.txt").write_text("a\n")
    (tmp_path / "l.txt").chmod(0)
    said = call_unprivileged(
        tmp_path, 'from attribench.common.text_files import read_lines\nread_lines("l.txt", "list file", "paths")'
    )
    assert said == "l.txt: the list file cannot be read (Permission denied); expected paths"


def test_a_number_is_what_people_take_for_one():
    for text, value in (("0.25", 0.25), (".5", 0.5), ("5.", 5), ("-1", -1), ("+1e-3", 0.001), ("2.5E2", 250)):
        assert decimal_number(text) == value
    for text in ("", "0.2_5", "1_0", "nan", "inf", "-Infinity", " 1", "1\n", "1,5", "0x10", "1e", "٣", "1 000"):
        with pytest.raises(ValueError, match="no number in decimal notation"):
            decimal_number(text)
