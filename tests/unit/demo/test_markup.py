"""The answer as text: HTML that says it in words and shapes, and CSV."""

import csv
import io
import re

import pytest
from attribench.decode.reading import AS_PUBLISHED
from attribench.demo.attribution import Attribution, Candidate
from attribench.demo.markup import answer_line, mosaic, parts_bar, percent, query_card, ranking_table, seconds_text
from attribench.demo.table import as_csv, file_name
from attribench.demo.thumbnails import thumbnail
from attribench.formats.manifest import ManifestRow
from attribench.formats.ranking import Method
from PIL import Image

SHARES = [0.4, 0.1, 0.025]
FIRST = [
    Candidate(1, "a/<x>.png", True, 3, 0.9, SHARES[0]),
    Candidate(2, 'd/"y".png', False, None, 0.8, SHARES[1]),
    Candidate(3, "d/z.png", False, None, 0.7, SHARES[2]),
]
ANSWER = Attribution(FIRST, [FIRST[0], Candidate(17, "a/b.png", True, 3, 0.2, 0.01)], 100, 2, 0.475, 0.41, 12.4)
SCORES = Attribution([Candidate(1, "d/z.png", False, None, 0.7, None)], [], 100, 0, None, None, None)


def picture(path):
    return None if path.endswith("z.png") else "data:image/jpeg;base64,AAAA"


def test_the_answer_in_words():
    line = answer_line(ANSWER)
    assert "<strong>41.0 %</strong> of the influence goes to the query's 2 exemplars, at ranks 1, 17." in line
    assert "about 12 images" in line
    assert answer_line(SCORES) == "Ranked by score."


def test_the_parts_add_up_to_everything():
    bar = parts_bar(ANSWER)
    assert [float(width) for width in re.findall(r"width: ([\d.]+)%", bar)] == [41.0, 12.5, 46.5]
    for text in ("2 exemplars: 41.0 %", "2 database images below: 12.5 %", "98 other database images: 46.5 %"):
        assert text in bar


def test_areas_are_as_influence():
    html = mosaic(ANSWER, picture, 0.4)
    sides = [int(side) for side in re.findall(r"width: (\d+)px", html)]
    assert sides == [176, 88, 44] and [(side / 176) ** 2 for side in sides] == [1, 0.25, 0.0625]
    assert 'alt="Rank 1, exemplar, 40.0 %: &lt;x&gt;.png"' in html
    assert 'aria-label="Rank 3, database image, 2.5 %: z.png (not here, or not readable)"' in html
    assert 'title="d/z.png"' in html and "<span>z.png</span>" in html
    assert "width: 88px" in mosaic(ANSWER, picture, 1.6)


def test_the_table_ends_with_what_remains_and_escapes_paths():
    html = ranking_table(ANSWER, picture, "clip <tuned>", frozenset(["d/z.png"]))
    assert "<x>" not in html and "<tuned>" not in html and "a/<wbr>&lt;x&gt;.png" in html
    assert "47.5 %" in html and "all other 99 images together" in html
    assert html.count("in both") == 1
    assert re.findall(r'<th scope="col"[^>]*>(\w+)', html) == ["Rank", "Image", "Influence", "Score", "Source", "Path"]
    assert "Influence" not in ranking_table(SCORES, picture, "clip")


def test_the_query_has_its_facts():
    html = query_card("data:x", "The query", [("Prompt", "<script>")])
    assert "<dt>Prompt</dt><dd>&lt;script&gt;</dd>" in html and 'alt="The query"' in html


@pytest.mark.parametrize(
    "share, text",
    [
        (1, "100.0 %"),
        (0.3424, "34.2 %"),
        (0.0007, "0.070 %"),
        (5.1e-5, "0.0051 %"),
        (1e-9, "under 0.0001 %"),
        (0, "0.0 %"),
    ],
)
def test_percentages(share, text):
    assert percent(share) == text


def test_times():
    assert [seconds_text(t).replace("\N{NO-BREAK SPACE}", " ") for t in (0.0001, 0.0171, 0.456, 15.51)] == [
        *("1 ms", "17 ms", "0.46 s", "15.5 s")
    ]


def test_csv_has_every_image_and_what_remains():
    rows = list(csv.DictReader(io.StringIO(as_csv("q/1.png", [("clip", "tuned", ANSWER), ("clip", "raw", SCORES)]))))
    assert [row["role"] for row in rows] == ["exemplar", "database", "database", "others", "database", "others"]
    assert sum(float(row["influence"]) for row in rows[:4]) == pytest.approx(1)
    assert rows[0] == {
        **{"query": "q/1.png", "extractor": "clip", "variant": "tuned", "rank": "1", "role": "exemplar"},
        **{"entry": "3", "path": "a/<x>.png", "score": "0.9", "influence": "0.4"},
    }
    assert rows[4]["influence"] == rows[5]["influence"] == ""


def test_the_csv_is_named_after_query_and_methods():
    methods = [Method("clip", "tuned"), Method("dino", "pretrained")]
    query = ManifestRow("synth/a b/0.png", "query", 7, "gpt")
    assert file_name(query, query.path, methods) == "entry-7_gpt_0_clip_tuned_dino_pretrained.csv"
    assert file_name(None, "my cat.png", methods[:1]) == "my-cat_clip_tuned.csv"


def test_thumbnails_are_small_and_of_images_alone(tmp_path):
    Image.new("L", (2000, 1000), 90).save(tmp_path / "grey.png")
    assert thumbnail(tmp_path / "grey.png", AS_PUBLISHED).startswith("data:image/jpeg;base64,/9j/")
    (tmp_path / "text.png").write_text("no image")
    assert thumbnail(tmp_path / "text.png", AS_PUBLISHED) is None
    assert thumbnail(tmp_path / "none.png", AS_PUBLISHED) is None
