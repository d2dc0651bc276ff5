"""CSV files: the bytes that are written, and what is read of them."""

import math

import numpy as np
import pandas as pd
import pytest
from attribench.common.errors import InputError
from attribench.common.tables_io import read_table, write_rows, write_table
from hypothesis import given, settings
from hypothesis import strategies as st

TYPES = {"name": "object", "n": "int64", "ok": "bool", "k": "Int64"}


def table():
    """Return a table with texts that look like missing values, and with missing numbers."""
    names = {"name": ['a "b", c', "é\nf", "NA", ""], "x": [0.1 + 0.2, math.nan, 1e-5, 2.0]}
    numbers = {"n": [1, 2, 3, 4], "ok": [True, False, True, True], "k": pd.array([None, 3, 4, None], dtype="Int64")}
    return pd.DataFrame(names | numbers).astype({"name": object})


def test_the_bytes_of_a_table(tmp_path):
    write_table(tmp_path / "deep/t.csv", table())
    expected = """name,x,n,ok,k
"a ""b"", c",0.30000000000000004,1,True,
"é\nf",,2,False,3
NA,1e-05,3,True,4
,2.0,4,True,
"""
    assert (tmp_path / "deep/t.csv").read_bytes() == expected.encode()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["t.csv"]


def test_rows_need_no_table(tmp_path):
    write_rows(tmp_path / "t.csv", [("path", "entry"), ("a,b", None), ("c", 0.1)])
    assert (tmp_path / "t.csv").read_bytes() == b'path,entry\n"a,b",\nc,0.1\n'


def test_what_is_written_is_read(tmp_path):
    write_table(tmp_path / "t.csv", table())
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv", "table", TYPES), table(), check_exact=True)


def test_every_text_is_read_as_it_was_written(tmp_path):
    texts = ["a\rb", "a\r\nb", "\r", "a\nb", "\u2028", "\x85", ' "', ",", "\x1c"]
    write_table(tmp_path / "t.csv", pd.DataFrame({"name": texts, "n": range(len(texts))}))
    assert read_table(tmp_path / "t.csv", "table", TYPES)["name"].tolist() == texts


@settings(derandomize=True, deadline=None, database=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_floats_keep_every_bit(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("floats") / "t.csv"
    write_table(path, pd.DataFrame({"x": values}))
    assert read_table(path, "table", {})["x"].to_numpy().tobytes() == np.array(values).tobytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the list does not exist"),
        (b"", "not a list"),
        (b"\xff,n\n", "not UTF-8 text"),
        (b"name,x\na,0.5\n", "not a list, it lacks the column n$"),
        (b"name,n\na,\n", "a value is not of its column's type"),
        (b"name,n,x\na,1,high\n", "a value is not of its column's type.*high"),
        (b"name,n,ok\na,1,yes\n", "a value is not of its column's type"),
        (b"name,n,n\na,1,2\n", "column `n` is there more than once"),
        (b"name,n,x\na,1\n", "found 2 fields; expected 3"),
        (b'name,n\n"a,1\n', "not CSV"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path, content, message):
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=rf"t.csv(, line \d+)?: {message}"):
        read_table(tmp_path / "t.csv", "list", TYPES, needed=["n"])
