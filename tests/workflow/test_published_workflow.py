"""Published numbers beside those of the tiny sample benchmark."""

import pytest
from attribench.tables.published import PUBLISHED_COLUMNS, Number
from helpers.results import table_rows

pytestmark = pytest.mark.workflow


def test_the_workflow_sets_ours_beside_published_numbers(finished_copy):
    results, numbers = finished_copy.folder / "results/tables", finished_copy.folder / "published_numbers.csv"
    assert (results / "published.csv").read_text() == ",".join(PUBLISHED_COLUMNS) + "\n"
    ours = table_rows(finished_copy, "summary", extractor="color", metric="mAP")
    names = [",".join(row[name] for name in Number._fields[:6]) for row in ours]
    near, far = (float(row["value"]) - shift for row, shift in zip(ours, (0.005, 0.02), strict=False))
    lines = [f"{names[0]},{near},0.01,a paper", f"{names[1]},{far},0.01,a paper"]
    lines.append(names[0].replace("color", "colour") + ",0.5,0.01,a paper")
    numbers.write_text("\n".join([",".join(Number._fields), *lines]) + "\n")
    before = finished_copy.tables()
    finished_copy.run()
    published = table_rows(finished_copy, "published")
    assert [row["within"] for row in published] == ["true", "false", "missing"]
    assert [row["ours"] for row in published] == [ours[0]["value"], ours[1]["value"], ""]
    assert [float(row["difference"]) for row in published[:2]] == pytest.approx([0.005, 0.02])
    assert {**finished_copy.tables(), "tables/published.csv": b""} == {**before, "tables/published.csv": b""}
    assert not finished_copy.planned()
    numbers.unlink()
    refused = finished_copy.run(check=False).stdout
    assert "config key published_numbers: published_numbers.csv: the file does not exist" in refused
