"""The gallery: what its page shows of each query is what the rank files and the files of influence say."""

import dataclasses
import json

import numpy as np
import pytest
from attribench.common.errors import InputError
from attribench.decode.reading import Reading
from attribench.formats.calibrator import Calibrator
from attribench.formats.ranking import Method, method_labels
from attribench.gallery.data import ImageList, split_data
from attribench.gallery.page import PAGE_FILES, read_split, write_page, write_split
from attribench.gallery.thumbnails import write_thumbnails
from attribench.influence import influence_of
from attribench.plots.style import method_styles
from helpers.images import picture, rotated
from helpers.influences import by_brute_force, of_scores
from helpers.rankings import make_ranking, text
from PIL import Image

CALIBRATOR = Calibrator(inv_tau=9.0, bias=0.4)


def data_of(rankings, influences=None, n_queries=None, n_neighbours=5, prompts=None):
    images = ImageList()
    labels = method_labels(ranking.method for ranking in rankings)
    data = split_data(rankings, influences or {}, n_queries, n_neighbours, labels, prompts or {}, images)
    return json.loads(json.dumps(data, allow_nan=False)), list(images.numbers)


def test_every_number_is_that_of_all_scores_sorted():
    rng = np.random.default_rng(0)
    database = rng.normal(0, 0.2, (6, 30)).round(3)
    own = [np.sort(rng.normal(0.3, 0.2, 3).round(3))[::-1] for _ in range(6)]
    ranking, histogram = of_scores(database, own, [0, 0, 1, 1, 1, 1], ["gpt", "media"] * 3, k=6)
    data, paths = data_of([ranking], {ranking.method: influence_of(ranking, histogram, CALIBRATOR)})
    assert [query["number"] for query in data["queries"]] == [*range(6)]
    for query in data["queries"]:
        q = query["number"]
        expected = by_brute_force(database[q], own[q], CALIBRATOR, 5)
        scores = np.concatenate([own[q], database[q]])
        is_own = np.arange(33) < 3
        order = np.lexsort([is_own, -np.where(is_own, scores - 1e-9, scores)])
        [shown] = query["methods"]
        ranks, numbers, whats, shown_scores, shares = zip(*shown["nearest"], strict=True)
        assert ranks == (1, 2, 3, 4, 5)
        np.testing.assert_allclose(shown_scores, scores[order[:5]], rtol=1e-5)
        np.testing.assert_allclose(shares, expected["top"], rtol=1e-3)
        assert whats == tuple(np.where(is_own[order[:5]], "exemplar", "database"))
        exemplars = {number for number, *_ in shown["exemplars"]}
        assert [number in exemplars for number in numbers] == is_own[order[:5]].tolist()
        assert [paths[n] for n, what in zip(numbers, whats, strict=True) if what == "database"] == [
            f"d/{i - 3}.png" for i in order[:5] if i >= 3
        ]
        own_ranks = np.flatnonzero(is_own[order]) + 1
        assert [rank for _, rank, _, _ in shown["exemplars"]] == own_ranks.tolist()
        np.testing.assert_allclose([row[3] for row in shown["exemplars"]], expected["exemplar"], rtol=1e-3)
        assert shown["influence"] == pytest.approx(expected["exemplar"].sum(), rel=1e-3)
        assert shown["average_precision"] == pytest.approx(np.mean(np.arange(1, 4) / own_ranks), rel=1e-5)


def one(variant="pretrained", ranks=((2, 3, 90), (1, 2, 3), (1, 5, 6), (4,), (), (1,)), **changes):
    """Return two entries (exemplars e/0 e/1 e/2; e/3) with three queries each, the fifth one invalid."""
    names = {"variant": variant, "category": text(["painter", ""]), "class_id": text(["a", "b"])}
    return make_ranking(ranks, [0, 0, 0, 1, 1, 1], ["gpt", "gpt", "media"] * 2, **names | changes)


def test_only_queries_that_every_method_ranks_are_shown():
    other = one("tuned", [(1, 2, 3), (), (1, 2, 3), (1,), (1,), (1,)])
    data, _ = data_of([one(), other], prompts={"q/3.png": "a cat"})
    assert [query["number"] for query in data["queries"]] == [0, 2, 3, 5]
    assert (data["n_queries"], data["n_not_ranked"]) == (6, 2)
    assert [query["prompt"] for query in data["queries"]] == ["", "", "a cat", ""]
    assert [method["variant"] for method in data["methods"]] == ["pretrained", "tuned"]
    assert data["entries"]["0"] | {"exemplars": 3} == {"class_id": "a", "category": "painter", "exemplars": 3}
    nothing, paths = data_of([dataclasses.replace(one("x", [()] * 6), offsets=np.zeros(7, np.int64))])
    assert nothing["queries"] == [] and nothing["n_not_ranked"] == 6 and paths == []


def test_few_queries_are_spread_over_entries_and_prompt_types():
    n = 50 * 2 * 4
    many = make_ranking([[1]] * n, np.repeat(np.arange(50), 8), (["gpt"] * 4 + ["media"] * 4) * 50)
    data, _ = data_of([many, dataclasses.replace(many, variant="tuned")], n_queries=8)
    assert [query["entry"] for query in data["queries"]] == [0, 7, 14, 21, 28, 35, 42, 49]
    assert sorted(query["prompt_type"] for query in data["queries"]) == ["gpt"] * 4 + ["media"] * 4
    assert data["n_queries"] == n and set(data["entries"]) == {"0", "7", "14", "21", "28", "35", "42", "49"}


def test_hard_negatives_are_told_from_the_database_and_scores_have_no_influence():
    neighbours = text([["d/0.png", "e/3.png", "d/1.png", "d/2.png"]] * 6)
    data, paths = data_of([one(variant="scores", neighbour_path=neighbours, hard_negatives=True)], n_neighbours=9)
    shown = data["queries"][0]["methods"][0]
    assert [(rank, paths[number], what) for rank, number, what, *_ in shown["nearest"]] == [
        (1, "d/0.png", "database"),
        (2, "e/0.png", "exemplar"),
        (3, "e/1.png", "exemplar"),
        (4, "e/3.png", "other exemplar"),
        (5, "d/1.png", "database"),
        (6, "d/2.png", "database"),
    ]
    assert shown["influence"] is None and {row[-1] for row in shown["nearest"]} == {None}
    assert data["hard_negatives"] and not data["methods"][0]["has_influence"]


def test_an_exemplar_that_is_invalid_is_listed_without_a_rank():
    lacking = one(ranks=((2, 90), (1, 2), (1, 5), (4,), (), (1,)), exemplar=np.array([0, 2, 0, 2, 0, 2, 3, 3]),
                  exemplar_path=text(["e/0.png", "e/1.png", "e/2.png", "e/3.png"]), exemplar_entry=np.array([0, 0, 0, 1]),
                  exemplar_valid=np.array([True, False, True, True]))  # fmt: skip
    data, paths = data_of([lacking])
    assert [paths[n] for n in data["entries"]["0"]["exemplars"]] == ["e/0.png", "e/1.png", "e/2.png"]
    assert [paths[row[0]] for row in data["queries"][0]["methods"][0]["exemplars"]] == ["e/0.png", "e/2.png"]


def test_methods_with_other_queries_are_refused():
    with pytest.raises(ValueError, match="different queries"):
        data_of([one(), one("tuned", query_path=one().query_path[::-1])])


def test_thumbnails_are_small_squares_from_the_middle(tmp_path):
    root, folder = tmp_path / "root", tmp_path / "thumbnails"
    root.mkdir()
    wide = Image.new("RGB", (600, 200), (0, 0, 255))
    wide.paste((200, 0, 0), (200, 0, 400, 200))
    wide.save(root / "wide.jpg", **rotated(wide, 6))
    picture().save(root / "small.png")
    (root / "broken.png").write_bytes((root / "small.png").read_bytes()[:60])
    sizes = {"wide.jpg": 128, "small.png": 64, "broken.png": 64, "missing.png": 64}
    names = write_thumbnails(folder, sizes, root, Reading())
    assert [bool(name) for name in names] == [True, True, False, False]
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.webp")) == sorted(names[:2])
    for name, size in zip(names[:2], (128, 64), strict=True):
        with Image.open(folder / name) as image:
            assert image.size == (size, size)
    with Image.open(folder / names[0]) as image:
        corners = [image.getpixel(at) for at in ((2, 2), (125, 125), (64, 64))]
    assert np.abs(np.array(corners) - (200, 0, 0)).max() < 40  # the sides are cut off
    again = write_thumbnails(tmp_path / "again", sizes, root, Reading(), threads=3)
    assert again == names
    assert all((tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes() for name in names[:2])


def test_a_root_without_images_gives_an_empty_folder(tmp_path):
    assert write_thumbnails(tmp_path / "thumbnails", {"a.png": 64}, tmp_path / "nowhere", Reading()) == [""]
    assert (tmp_path / "thumbnails").is_dir()


def test_data_are_a_script_that_is_read_back(tmp_path):
    data, _ = data_of([one()], prompts={"q/0.png": "</script> \u2028 Ü"})
    write_split(tmp_path / "data.js", data, {"q/0.png": "ab/c.webp", "q/1.png": ""})
    assert (tmp_path / "data.js").read_text("ascii").startswith('addSplit({"split":"style",')
    assert read_split(tmp_path / "data.js") == data | {"images": [["q/0.png", "ab/c.webp"], ["q/1.png", ""]]}
    (tmp_path / "data.js").write_text("addSplit({")
    with pytest.raises(InputError, match="data.js: not the data of a gallery"):
        read_split(tmp_path / "data.js")


def test_the_page_knows_its_splits_and_ends_no_script_early(tmp_path):
    write_page(tmp_path, "</script>", ["style", "object"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(PAGE_FILES)
    page = (tmp_path / "index.html").read_text()
    assert r'const RUN = {"benchmark": "\u003c/script>", "splits": ["style", "object"]};' in page


def test_methods_have_the_colours_of_the_figures():
    data, _ = data_of([one(), one("tuned")])
    styles = method_styles([Method("clip", "pretrained"), Method("clip", "tuned")])
    assert [method["colour"] for method in data["methods"]] == [style.colour for style in styles.values()]
