"""Published numbers beside ours: what is compared, what is left out, and what a file is refused for."""

import math

import pandas as pd
import pytest
from attribench.common.errors import InputError
from attribench.plan.config import load
from attribench.plan.plan import Plan
from attribench.tables.published import PUBLISHED_COLUMNS, Number, published_table, read_published
from helpers.config import REPOSITORY, changed

HEADER = "benchmark,split,prompt_type,extractor,variant,metric,value,tolerance,source"
ROW = "abc,bamfg,gpt,clip,pretrained,mAP,0.25,0.01,a paper"


def number(**changes):
    return Number("abc", "bamfg", "gpt", "clip", "pretrained", "mAP", 0.25, 0.01, "a paper")._replace(**changes)


def written(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_file_that_is_shipped_states_nothing():
    assert read_published(REPOSITORY / "published_numbers.csv") == []


def test_numbers_are_read_in_any_order_of_columns(tmp_path):
    reordered = "source, value,tolerance,metric,variant,extractor,prompt_type,split,benchmark"
    path = tmp_path / "mine.csv"
    path.write_bytes(
        f'\ufeff{reordered}\r\n\r\n"table 2,\nleft", .250 ,0,mAP,pretrained,clip,gpt,bamfg,abc\r\n,,,,,,,,\r\n'.encode()
    )
    assert read_published(path) == [number(tolerance=0.0, source="table 2,\nleft")]


def test_two_sources_may_state_the_same_number(tmp_path):
    other = ROW.replace("a paper", "another").replace("0.25", "0.26")
    assert len(read_published(written(tmp_path / "mine.csv", HEADER, ROW, other))) == 2


REFUSED = {
    "a missing column": ([HEADER.replace(",tolerance", "")], "line 1: no column tolerance; expected benchmark,split"),
    "no header": ([""], "line 1: no column benchmark, split"),
    "an unknown column": ([HEADER.replace("metric", "metrics")], "line 1: unknown column `metrics`; did you mean `metric`?"),
    "a column twice": ([HEADER + ",value"], "line 1: column `value` is there more than once"),
    "a value that is no number": ([HEADER, ROW.replace("0.25", "0,25")], "line 2: found 10 fields; expected 9"),
    "text for a value": ([HEADER, ROW, ROW.replace("0.25", "high")], "line 3: value is 'high'; expected a number from 0"),
    "per cent": ([HEADER, "", ROW.replace("0.25", "25.0")], "line 3: value is '25.0'; expected a number from 0 to 1"),
    "nan": ([HEADER, ROW.replace("0.25", "nan")], "line 2: value is 'nan'"),
    "Python's underscore": ([HEADER, ROW.replace("0.25", "0.2_5")], "line 2: value is '0.2_5'; expected a number from 0"),
    "a negative tolerance": ([HEADER, ROW.replace("0.01", "-0.01")], "line 2: tolerance is '-0.01'"),
    "an empty field": ([HEADER, ROW.replace("a paper", " ")], "line 2: source is empty"),
    "a number stated twice": (
        [HEADER, ROW, "", ROW.replace("0.25", "0.26")],
        "line 4: abc bamfg gpt clip pretrained mAP of a paper is in line 2 already; expected it once",
    ),
    "an open quotation": ([HEADER, ROW.replace("a paper", '"a paper')], "line 2: not CSV"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_file_is_refused_with_its_line(tmp_path, name):
    lines, message = REFUSED[name]
    with pytest.raises(InputError) as error:
        read_published(written(tmp_path / "mine.csv", *lines))
    assert str(error.value).startswith(f"{tmp_path / 'mine.csv'}, {message}")


def test_a_file_that_cannot_be_read_is_refused_with_the_key(tmp_path):
    (tmp_path / "latin.csv").write_bytes(f"{HEADER}\n{ROW}é\n".encode("latin-1"))
    for name, reason in (("none.csv", "not exist"), (".", "no file"), ("latin.csv", "UTF-8")):
        with pytest.raises(InputError, match=f"^config key published_numbers: .*{reason}.*expected CSV with"):
            read_published(tmp_path / name)


def test_ours_stands_beside_the_published_value():
    columns = [*Number._fields[:6], "value", "n_queries"]
    summary = pd.DataFrame(
        [
            ("abc", "bamfg", "gpt", "clip", "pretrained", "mAP", 0.26, 9),
            ("abc", "bamfg", "gpt", "clip", "pretrained", "recall@5", 0.5, 9),
            ("abc", "bamfg", "object", "clip", "pretrained", "mAP", math.nan, 0),
        ],
        columns=columns,
    )
    published = [
        number(),  # 0.26 - 0.25 is above 0.01 in binary, and equal to it in decimal
        number(metric="recall@5", value=0.5, tolerance=0.0),
        number(metric="recall@5", value=0.6, source="another"),
        number(prompt_type="object"),
        number(prompt_type="gtp"),
    ]
    table = published_table(published, summary)
    assert list(table) == [*HEADER.split(","), "ours", "difference", "within"] == list(PUBLISHED_COLUMNS)
    assert table["within"].tolist() == ["true", "true", "false", "missing", "missing"]
    assert table["ours"].tolist()[:3] == [0.26, 0.5, 0.5]
    assert table["difference"].tolist()[:3] == pytest.approx([0.01, 0, -0.1])
    assert table[["ours", "difference"]][3:].isna().all(axis=None)
    assert list(published_table([], summary)) == list(PUBLISHED_COLUMNS) and published_table([], summary).empty


def plan(path, **changes):
    return Plan(load(changed(benchmark="abc", published_numbers=path, **changes)))


@pytest.mark.parametrize(
    ("changes", "stays"),
    [
        ({}, True),
        ({"benchmark": "sample"}, False),
        ({"split": "artchive"}, False),
        ({"extractor": "dino"}, False),
        ({"metric": "recall@5"}, True),
        ({"metric": "recall@7"}, False),
        ({"benchmark": "acb"}, True),
        ({"split": "artchives"}, True),
        ({"extractor": "cilp"}, True),
        ({"variant": "pretrainde"}, True),
        ({"metric": "map"}, True),
        ({"prompt_type": "gtp"}, True),
        ({"benchmark": "sample", "split": "artchives"}, False),
    ],
)
def test_a_number_of_another_run_is_left_out_and_a_slip_is_not(tmp_path, changes, stays):
    row = ",".join(map(str, number(**changes)))
    path = str(written(tmp_path / "mine.csv", HEADER, row))
    assert plan(path, splits="bamfg", extractors="clip").published == ([number(**changes)] if stays else [])


def test_a_bad_file_is_refused_before_any_job(tmp_path):
    assert plan(None).published == []
    with pytest.raises(InputError, match="config key published_numbers: none.csv"):
        plan("none.csv")
    with pytest.raises(InputError, match="line 1: no column benchmark"):
        plan(str(written(tmp_path / "mine.csv", "")))
