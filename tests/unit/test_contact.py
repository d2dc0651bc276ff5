"""Contact sheets: which queries and images they show, what they say of them, and how they look."""

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
from attribench.contact import comparison_sheet, contact_sheet
from attribench.decode.reading import Reading
from attribench.formats.rank_file import read_rank_file, write_rank_file
from attribench.plots.chosen import choose_queries
from attribench.plots.figure_settings import FigureSettings
from attribench.plots.save import save_plot
from attribench.plots.sheet import DPI, NO_IMAGE, UNREADABLE, shorten
from helpers.figures import assert_legible, drawn_texts, parts
from helpers.images import rotated
from helpers.rankings import make_ranking, text
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle
from PIL import Image


def ranking(variant="pretrained", ranks=((2, 3, 90), (1, 2, 3), (1, 5, 6), (4,), (101,), (1,)), **changes):
    """Return two entries (exemplars a0 a1 a2; b0), each with two gpt and one media query; 100 images, 4 neighbours."""
    names = {
        "variant": variant,
        "query_path": text([f"q/{entry}/{i}.png" for entry in "ab" for i in range(3)]),
        "exemplar_path": text(["e/a0.png", "e/a1.png", "e/a2.png", "e/b0.png"]),
        "exemplar": np.array([1, 0, 2] + [0, 1, 2] * 2 + [3, 3, 3]),
        "neighbour_score": np.tile([0.999, 0.9, 0.8, 0.7], (6, 1)),
        "category": text(["painter", ""]),
    }
    return make_ranking(ranks, [0, 0, 0, 1, 1, 1], ["gpt", "gpt", "media"] * 2, **names | changes)


def without(made, *queries):
    """Return the ranking `made` with `queries` as ones that are not valid."""
    return dataclasses.replace(made, query_valid=~np.isin(np.arange(6), queries))


@pytest.fixture
def root(tmp_path):
    """Every image of `ranking()`: queries grey, exemplars green, the database red; wide, with blue sides."""
    for folder, colour in (("q", (128, 128, 128)), ("e", (0, 200, 0)), ("d", (200, 0, 0))):
        image = Image.new("RGB", (96, 32), (0, 0, 255))
        image.paste(colour, (32, 0, 64, 32))
        one = ranking()
        for path in [*one.query_path, *one.exemplar_path, *one.neighbour_path.flat]:
            if path.startswith(folder):
                (tmp_path / "root" / path).parent.mkdir(parents=True, exist_ok=True)
                image.save(tmp_path / "root" / path)
    return tmp_path / "root"


def pixels(figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def test_exemplars_stand_at_their_ranks_and_the_database_fills_the_rest():
    places = ranking().nearest_images(0, 5)
    assert [(rank, path, own) for rank, path, own, _ in places] == [
        (1, "d/00.png", False),
        (2, "e/a1.png", True),
        (3, "e/a0.png", True),
        (4, "d/01.png", False),
        (5, "d/02.png", False),
    ]
    assert [score for *_, score in places] == pytest.approx([0.999, 0.99, 0.985, 0.9, 0.8])


def test_places_beyond_the_neighbours_kept_are_not_made_up():
    assert [rank for rank, *_ in ranking().nearest_images(3, 9)] == [1, 2, 3, 4, 5]  # four neighbours and one exemplar
    padded = ranking(neighbour_index=np.full((6, 4), -1), neighbour_path=text([[""] * 4] * 6))
    assert [(rank, path) for rank, path, *_ in padded.nearest_images(2, 9)] == [
        (1, "e/a0.png"),
        (5, "e/a1.png"),
        (6, "e/a2.png"),
    ]


def test_contact_sheet_data(root):
    data = contact_sheet(ranking(), root, n_queries=6, n_neighbours=5).data
    assert list(dict.fromkeys(data["query"])) == [f"q/{e}.png" for e in ("a/0", "a/1", "b/0", "b/1", "a/2", "b/2")]
    nearest = data[data["panel"] == "nearest"]
    assert (nearest["position"] == nearest["rank"]).all()
    first = nearest[nearest["query"] == "q/a/0.png"]
    assert first["path"].tolist() == ["d/00.png", "e/a1.png", "e/a0.png", "d/01.png", "d/02.png"]
    assert first["is_exemplar"].tolist() == [False, True, True, False, False]
    assert first["AP"].iloc[0] == pytest.approx((1 / 2 + 2 / 3 + 3 / 90) / 3)
    own = data[(data["panel"] == "exemplars") & (data["query"] == "q/a/0.png")]
    assert own["rank"].tolist() == [2, 3, 90] and own["position"].tolist() == [1, 2, 3]
    assert own["path"].tolist() == ["e/a1.png", "e/a0.png", "e/a2.png"] and own["is_exemplar"].all()
    assert set(data["prompt_type"]) == {"gpt", "media"} and set(data["entry"]) == {0, 1}


def hits(figure):
    """Return the frames of exemplars, and the squares of their check marks, without that of the legend."""
    boxes = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    frames = [box for box in boxes if not box.get_fill()]
    return frames, [box for box in boxes if box.get_fill() and box.get_width() < 0.12][1:]


def test_contact_sheet_picture(root):
    plot = contact_sheet(ranking(), root, n_queries=6, n_neighbours=5)
    texts = [text for text, _ in drawn_texts(plot.figure)]
    assert "AP 0.400  ·  best exemplar at #2" in texts and "gpt  ·  entry 0  ·  0  ·  painter" in texts
    assert "q/a/0.png" in texts and "#101" in texts and "3 exemplars" in texts and "1 exemplar" in texts
    assert (texts.count("best"), texts.count("2nd"), texts.count("worst")) == (3, 3, 3)
    frames, marks = hits(plot.figure)
    assert len(frames) == len(marks) == (2 + 3 + 2 + 1 + 0 + 1) + (3 * 3 + 3 * 1)  # among the nearest, and at the right
    corners = {(round(box.get_x() + box.get_width(), 6), round(box.get_y(), 6)) for box in frames}
    assert corners == {(round(box.get_x() + box.get_width(), 6), round(box.get_y(), 6)) for box in marks}
    side = round(frames[0].get_width() * DPI)
    picture = pixels(plot.figure)
    # A thumbnail shows the middle square of its image, but for what the frame and its mark cover of an exemplar's.
    for colour, expected in (((200, 0, 0), 29 - 9), ((0, 200, 0), (9 + 12) * 0.88)):
        close = (np.abs(picture.astype(np.int16) - np.int16(colour)) < 80).all(axis=2)
        assert close.sum() / side**2 == pytest.approx(expected, rel=0.05)
    assert not (picture == (0, 0, 255)).all(axis=2).any()  # the sides are cut off
    assert_legible(plot.figure)
    assert plot.caption.startswith("6 of the 6 queries of style (left)") and "contact_sheet.method" in plot.caption
    assert "exemplars with their ranks, from the best to the worst" in plot.caption
    assert "Chosen: spread over entries and prompt types" in plot.caption and "100 database images" in plot.caption


def test_prompts_that_are_known_stand_above_their_images(root):
    long = "a cat\nfor $5 " + "on a beach " * 30
    prompts = {"q/a/0.png": long, "q/a/1.png": "a dog"}
    for with_prompts, without_prompts in (
        [contact_sheet(ranking(), root, 6, 5, [*prompts], prompts=given).figure for given in (prompts, {})],
        [comparison_sheet([ranking()], root, 5, [*prompts], prompts=given).figure for given in (prompts, {})],
    ):
        texts = [text for text, _ in drawn_texts(with_prompts)]
        assert "“a dog”" in texts and len([text for text in texts if text.startswith("“a cat for $5 on a beach")]) == 1
        assert_legible(with_prompts)
        assert with_prompts.get_size_inches()[1] > without_prompts.get_size_inches()[1]


def test_exemplars_that_are_shown_of_many_are_named_by_their_place(root):
    many = make_ranking([[*range(1, 31)], [5]], [0, 1], ["gpt", "gpt"], k=8)
    texts = [text for text, _ in drawn_texts(contact_sheet(many, root).figure)]
    assert {"4 of 30 exemplars", "best", "11th", "20th", "worst", "#1", "#11", "#20", "#30"} <= {*texts}
    figure = contact_sheet(make_ranking([[5]], [0], ["gpt"], k=8), root).figure
    assert_legible(figure)
    assert "1 exemplar" in [text for text, _ in drawn_texts(figure)], "not cut, though wider than the image below it"


@pytest.mark.parametrize(("n_exemplars", "with_prompts"), [(1, False), (1, True), (8, False), (8, True)])
def test_the_sheet_of_the_default_queries_leaves_room_for_a_caption_on_a_page(root, n_exemplars, with_prompts):
    many = make_ranking([range(1, n_exemplars + 1)] * 8, range(8), ["gpt"] * 8, n_database=1500, k=8)
    prompts = dict.fromkeys(many.query_path.tolist(), "a dog") if with_prompts else {}
    (root / many.query_path[0]).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32)).save(root / many.query_path[0])
    figure = contact_sheet(many, root, prompts=prompts).figure
    assert_legible(figure)
    most = 8.4 if with_prompts and n_exemplars > 1 else 8  # where images would be too small for the ranks below them
    assert 6 < figure.get_size_inches()[1] < most + 1e-9


def test_ranks_of_large_databases_fit_under_their_images(root):
    large = ranking(ranks=((999, 12_345, 1_234_567), (1, 2, 3), (1, 5, 6), (4,), (101,), (1,)), n_database=2_000_000)
    figure = contact_sheet(large, root, n_queries=6).figure
    assert {"#999", "#12.3k", "#1.23M"} <= {text for text, _ in drawn_texts(figure)}
    assert_legible(figure)


@pytest.mark.parametrize(("width", "n_neighbours"), [(3.25, 1), (4.0, 25), (5.5, 4), (9.0, 1), (9.0, 25)])
def test_sheets_have_the_width_that_is_asked_for_and_4_inches_at_least(root, width, n_neighbours):
    neighbours = {"neighbour_index": np.zeros((6, 30), int), "neighbour_score": np.zeros((6, 30))}
    wide = ranking(neighbour_path=text([["d/00.png"] * 30] * 6), **neighbours)
    settings = FigureSettings(width=width, has_title=True)
    assert_legible(contact_sheet(wide, root, 2, n_neighbours, settings=settings).figure, max(4, width))
    assert_legible(comparison_sheet([wide], root, n_neighbours, settings=settings).figure, max(4, width))


def test_missing_and_broken_images_become_squares_with_a_sign(root, tmp_path):
    (root / "d/00.png").unlink()
    (root / "d/01.png").write_bytes(b"not an image")
    (root / "d/02.png").write_bytes((root / "e/a0.png").read_bytes()[:60])
    figure, data = parts(contact_sheet(ranking(), root, n_queries=6, n_neighbours=5))
    texts = [text for text, _ in drawn_texts(figure)]
    shown = data[data["panel"] == "nearest"]["path"].tolist()
    assert texts.count(NO_IMAGE) == shown.count("d/00.png") > 0
    assert texts.count(UNREADABLE) == shown.count("d/01.png") + shown.count("d/02.png") > 0
    assert len(shown) == 29  # a query has 4 neighbours and no exemplar near


def test_without_any_image_a_line_says_so_in_place_of_grey_squares(tmp_path):
    """Features were given, and no images at all."""
    for plot in (contact_sheet(ranking(), tmp_path / "nowhere"), comparison_sheet([ranking()], tmp_path / "nowhere")):
        [(said, _)] = drawn_texts(plot.figure)
        assert said.replace("\n", " ") == plot.caption and plot.caption.startswith("No contact sheet: of the ")
        assert "none is below the benchmark's root" in plot.caption and len(plot.data)
        assert plot.figure.get_size_inches()[1] < 1 and not plot.figure.axes
        assert_legible(plot.figure)


def test_images_are_shown_as_they_were_decoded(root):
    """Images of 16 bits are shown so too, and are turned where orientation is applied."""
    query = root / ranking().query_path[0]
    grey = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (96, 1))
    shown = []
    apply = Reading(exif="apply")
    for values, reading in ((grey, Reading()), (grey.astype(np.uint16) * 257, Reading()), (grey.T, apply)):
        image = Image.fromarray(values)
        image.save(query, **rotated(image, 5 if reading.exif == "apply" else 1))
        figure = contact_sheet(ranking(), root, n_queries=1, n_neighbours=1, reading=reading).figure
        shown.append(pixels(figure))
    np.testing.assert_array_equal(shown[0], shown[1])
    np.testing.assert_array_equal(shown[0], shown[2])


def test_the_same_bytes_twice_and_small_pictures_inside_the_svg(root, tmp_path):
    first, second = (
        [path.read_bytes() for path in save_plot(contact_sheet(ranking(), root, 2), tmp_path / name / "sheet")]
        for name in "ab"
    )
    assert first == second
    embedded = re.findall(rb"data:image/(\w+);base64,([A-Za-z0-9+/=\s]+)", first[1])
    assert {kind for kind, _ in embedded} == {b"jpeg"} and len(embedded) > 12
    with Image.open(io.BytesIO(base64.b64decode(embedded[0][1]))) as image:
        assert min(image.size) > 150 and image.size[0] == image.size[1]
        assert image.getpixel((72, 72)) == pytest.approx((128, 128, 128), abs=3)  # the first query
    assert len(first[1]) < 2_000_000


def test_queries_are_spread_over_entries_and_prompt_types():
    n = 50 * 2 * 4
    many = make_ranking([[1]] * n, np.repeat(np.arange(50), 8), (["gpt"] * 4 + ["media"] * 4) * 50)
    chosen = choose_queries([many], 8)
    assert sorted(many.query_entry[chosen]) == [0, 7, 14, 21, 28, 35, 42, 49]
    assert many.query_prompt_type[chosen].tolist() == ["gpt"] * 4 + ["media"] * 4
    assert len(set(choose_queries([many], 120))) == 120
    assert len(choose_queries([many], 10_000)) == n


def test_the_best_the_worst_or_listed_queries_are_chosen():
    """By average precision, and in its order; of different entries while there are some."""
    ranks = ((2, 3, 90), (1, 2, 3), (1, 5, 6), (4,), (101,), (1,))  # AP 0.4, 1, 0.6; 0.25, 0.01, 1
    one = ranking(ranks=ranks)
    assert choose_queries([one], 2, "best") == [1, 5] and choose_queries([one], 2, "worst") == [4, 0]
    assert choose_queries([one], 3, "best") == [1, 5, 2] and choose_queries([one], 9, "worst") == [4, 3, 0, 2, 1, 5]
    other = ranking("tuned", ranks=((1, 2, 3), (50, 60, 70), (1, 2, 3), (1,), (1,), (2,)))
    assert choose_queries([one, other], 2, "best") == [2, 5]
    assert choose_queries([without(one, 1, 5)], 2, "best") == [2, 3]
    assert choose_queries([one], 1, ["q/b/2.png", "q/a/0.png", "q/none.png", "q/b/2.png"]) == [5, 0]
    assert choose_queries([without(one, 5)], 1, ["q/b/2.png", "q/a/0.png"]) == [0]


def test_what_was_chosen_is_said(root):
    for choose, said in (
        ("best", "Chosen: those with the highest average precision by clip, of different entries; the highest first."),
        ("worst", "Chosen: those with the lowest average precision by clip, of different entries; the lowest first."),
        (["q/a/0.png"], "1 of the 6 queries of style"),
        (["q/a/0.png"], "Chosen: those that the config lists."),
    ):
        plot = contact_sheet(ranking(), root, 2, choose=choose)
        assert said in plot.caption
    other = contact_sheet(ranking(), root, choose=["q/a/00.png"])
    assert (
        "no query that contact_sheet.choose lists is a valid query of style; did you mean `q/a/0.png`?" in other.caption
    )


def test_invalid_queries_are_never_chosen():
    one, other = without(ranking(), 0, 3, 5), without(ranking("tuned"), 2)
    assert choose_queries([one], 6) == [1, 4, 2]
    assert choose_queries([one, other], 6) == [1, 4]


def test_no_valid_query_is_said(root):
    nothing = without(ranking(), *range(6))
    for plot in (contact_sheet(nothing, root), comparison_sheet([nothing], root)):
        assert plot.data.empty and "has no valid queries" in drawn_texts(plot.figure)[0][0]


def test_comparison_shows_the_same_exemplars_for_every_method(root):
    ranks = [[1, 2, 3]] * 3 + [[1], [2], [1]]
    better = ranking("tuned", ranks, exemplar=np.array([2, 1, 0] * 3 + [3, 3, 3]))
    plot = comparison_sheet([ranking(), better], root, n_neighbours=4)
    figure, data = parts(plot)
    assert_legible(figure)
    assert "These stand above in the order of the split file" in plot.caption
    queries = list(dict.fromkeys(data["query"]))
    assert queries == ["q/a/0.png", "q/a/2.png", "q/b/2.png"]  # of each entry and prompt type
    texts = [text for text, _ in drawn_texts(figure)]
    assert texts.count("#90") == 1 and texts.count("0.400") == 1 and texts.count("clip tuned") == 3
    own = data[(data["panel"] == "exemplars") & (data["query"] == "q/a/0.png")]
    by_variant = {name: rows for name, rows in own.groupby("variant")}
    for rows in by_variant.values():
        assert rows["path"].tolist() == ["e/a0.png", "e/a1.png", "e/a2.png"]
    assert by_variant["pretrained"]["rank"].tolist() == [3, 2, 90]
    assert by_variant["tuned"]["rank"].tolist() == [3, 2, 1]
    assert by_variant["tuned"]["AP"].iloc[0] == 1.0


def test_a_comparison_of_many_methods_fits_a_page(root):
    for n, expected in ((2, 3), (9, 2), (12, 1)):
        methods = [ranking(f"variant{i:02d}") for i in range(n)]
        figure, data = parts(comparison_sheet(methods, root, n_neighbours=4))
        assert_legible(figure)
        assert (data["variant"].nunique(), data["query"].nunique()) == (n, expected)
        assert figure.get_size_inches()[1] < 9
    listed = comparison_sheet(methods, root, 4, ["q/a/0.png", "q/a/1.png"])
    assert listed.data["query"].nunique() == 2, "those that are listed are all there"


def test_different_queries_are_not_compared(root):
    with pytest.raises(ValueError, match="different queries"):
        comparison_sheet([ranking(), ranking("tuned", query_path=ranking().query_path[::-1])], root)
    with pytest.raises(ValueError, match="at least one"):
        comparison_sheet([], root)


def test_shorten():
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdef", 4) == "abc…" and shorten("abcdef", 4, end=True) == "…def"


def test_a_sheet_is_made_from_a_rank_file(tmp_path):
    write_rank_file(tmp_path / "ranks.h5", ranking())
    data = contact_sheet(read_rank_file(tmp_path / "ranks.h5"), tmp_path).data
    assert data.equals(contact_sheet(ranking(), tmp_path).data) and len(data)
