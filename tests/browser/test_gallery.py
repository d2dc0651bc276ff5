"""The gallery in a real browser, opened from disk: what it shows, filters, order, keys, links, and small windows."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from attribench.decode.reading import Reading
from attribench.formats.rank_file import read_rank_file
from attribench.formats.ranking import method_labels
from attribench.gallery.data import ImageList, split_data
from attribench.gallery.page import read_split, write_page, write_split
from attribench.gallery.thumbnails import write_thumbnails
from attribench.metrics import average_precision
from helpers.clone import TINY
from helpers.images import picture
from helpers.influences import influence_with
from helpers.rankings import make_ranking, text
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
N, ENTRIES = 24, 6
SHARES = {"exemplar": "ranks", "top": "neighbour_score"}  # influence, and what of a ranking has as many values


def ranking(variant, seed, split="zoo", extractor="clip", **changes):
    """Return a ranking of 6 entries with 2 exemplars and 4 queries each, all with images of their own."""
    rng = np.random.default_rng(seed)
    ranks = [sorted(rng.choice(np.arange(1, 9), 2, replace=False).tolist()) for _ in range(N)]
    ranks[7] = [] if split == "zoo" else ranks[7]
    names = {
        **{"split": split, "extractor": extractor, "variant": variant},
        "query_path": text([f"{split}/q/{q}.png" for q in range(N)]),
        "class_id": text([f"thing_{entry}" for entry in range(ENTRIES)]),
        "category": text(["bird", "fish"] * (ENTRIES // 2)),
        "neighbour_path": text([[f"d/{number}.png" for number in rng.permutation(9)[:6]] for _ in range(N)]),
    }
    return make_ranking(ranks, np.arange(N) // 4, ["gpt", "gpt", "media", "media"] * ENTRIES, k=6, **names | changes)


def with_influence(made, seed):
    rng = np.random.default_rng(seed)
    some = {name: rng.uniform(0.01, 0.1, np.shape(getattr(made, of))) for name, of in SHARES.items()}
    return influence_with(made, **some)


class Gallery(NamedTuple):
    """Hold a gallery: its folder, and the data of its splits by name."""

    folder: Path
    splits: dict

    def url(self, **view):
        return f"file://{self.folder}/index.html#" + "&".join(f"{key}={value}" for key, value in view.items())


def make_gallery(folder, rankings_of_splits, root, n_neighbours=6):
    splits = {}
    for rankings in rankings_of_splits:
        images, split = ImageList(), rankings[0].split
        influences = {
            made.method: with_influence(made, i) for i, made in enumerate(rankings) if made.variant != "scores"
        }
        labels, prompts = method_labels(made.method for made in rankings), {f"{split}/q/0.png": "a bird at dawn"}
        data = split_data(rankings, influences, None, n_neighbours, labels, prompts, images)
        sizes = images.sizes(48)
        names = write_thumbnails(folder / split / "thumbnails", sizes, root, Reading())
        write_split(folder / split / "data.js", data, dict(zip(sizes, names, strict=True)))
        splits[split] = read_split(folder / split / "data.js")
    write_page(folder, "toy", list(splits))
    return Gallery(folder, splits)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """Two splits: one by three methods, of which one gives scores; one by one method, most of whose images are not there."""
    folder = tmp_path_factory.mktemp("gallery")
    zoo = [ranking("pretrained", 0), ranking("tuned", 1), ranking("scores", 2, extractor="unlearning")]
    one = zoo[0]
    for i, path in enumerate({*one.query_path, *one.exemplar_path, *(f"d/{n}.png" for n in range(9))}):
        (folder / "root" / path).parent.mkdir(parents=True, exist_ok=True)
        picture(64, 48, i).save(folder / "root" / path)
    alone = ranking("pretrained", 3, "alone", exemplar_path=text([f"gone/{e}.png" for e in range(2 * ENTRIES)]))
    return make_gallery(folder / "gallery", [zoo, [alone]], folder / "root")


def precisions(split, query, *names):
    """Return the average precision of a query by the methods of these names."""
    numbers = {method["name"]: i for i, method in enumerate(split["methods"])}
    return [query["methods"][numbers[name]]["average_precision"] for name in names]


def shown_numbers(page):
    """Return the numbers of the queries in the list, in its order."""
    return page.eval_on_selector_all("#queries a", "links => links.map(link => Number(link.dataset.query))")


def current(page):
    return int(page.get_attribute("#queries a[aria-current]", "data-query"))


def tiles(page, panel):
    return page.locator(".panel").nth(panel).locator(".tile")


def wait_for_images(page, n):
    """Wait until the panels show `n` images."""
    whole = "[...document.querySelectorAll('.panel img')].filter(image => image.complete && image.naturalWidth)"
    page.wait_for_function(f"{whole}.length === {n}")


def test_two_methods_stand_side_by_side_with_the_numbers_of_their_files(page, gallery):
    page.goto(gallery.url(split="zoo", query=0))
    split = gallery.splits["zoo"]
    query = split["queries"][0]
    left, right = (page.locator(".panel").nth(i).bounding_box() for i in range(2))
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
    expect(page.locator(".prompt")).to_have_text("“a bird at dawn”")
    elsewhere = [{row[1]: row[0] for row in result["nearest"]} | {row[0]: row[1] for row in result["exemplars"]}
                 for result in query["methods"]]  # fmt: skip
    for panel, result in enumerate(query["methods"][:2]):
        stats = page.locator(".panel").nth(panel).locator(".stats")
        expect(stats).to_contain_text(f"{result['average_precision']:.3f}")
        expect(stats).to_contain_text(f"#{result['exemplars'][0][1]}")
        expect(stats).to_contain_text(f"{100 * result['influence']:.1f} %")
        assert tiles(page, panel).count() == len(result["nearest"]) == 6
        for i, (rank, number, what, score, share) in enumerate(result["nearest"]):
            tile = tiles(page, panel).nth(i)
            words = tile.inner_text().split()
            assert words[-1] == f"#{elsewhere[1 - panel].get(number, '7+')}"
            assert f"#{rank}" in words and f"{100 * share:.1f} %" in tile.inner_text()
            assert tile.locator(".score").inner_text() == f"{score:.3f}"
            # More than a colour says which are exemplars.
            assert tile.locator(".mark").all_inner_texts() == (["exemplar"] if what == "exemplar" else [])
            assert tile.locator("img").get_attribute("title") == split["images"][number][0]
    wait_for_images(page, 2 * 6)
    of_entry = page.locator(".exemplars .tile")
    assert of_entry.count() == 2
    last = {row[0]: row[1] for row in query["methods"][1]["exemplars"]}
    first = {row[0]: row[1] for row in query["methods"][0]["exemplars"]}
    for i, number in enumerate(sorted(last, key=last.get)):
        assert of_entry.nth(i).locator("b").all_inner_texts() == [f"#{first[number]}", f"#{last[number]}"]


def test_filters_and_order(page, gallery):
    page.goto(gallery.url(split="zoo"))
    split, pair = gallery.splits["zoo"], ("clip_pretrained", "clip_tuned")
    queries = split["queries"]
    change = {query["number"]: np.subtract(*precisions(split, query, *pair[::-1])) for query in queries}
    after = {query["number"]: precisions(split, query, pair[1])[0] for query in queries}
    assert 7 not in change and shown_numbers(page) == sorted(change, key=lambda q: (-abs(change[q]), q))
    expect(page.locator("#count")).to_have_text("23 of the split's 24 queries; 1 could not be ranked")
    for order, key in {
        "gain": lambda q: (-change[q], q), "loss": lambda q: (change[q], q),
        "high": lambda q: (-after[q], q), "low": lambda q: (after[q], q), "split": lambda q: q,
    }.items():  # fmt: skip
        page.select_option("[name=sort]", order)
        assert shown_numbers(page) == sorted(change, key=key)
    page.select_option("[name=show]", "worst")
    assert sorted(shown_numbers(page)) == sorted(sorted(change, key=lambda q: (after[q], q))[:10])
    page.select_option("[name=show]", "")
    page.select_option("[name=type]", "media")
    page.select_option("[name=category]", "fish")
    kept = [q["number"] for q in queries if q["prompt_type"] == "media" and q["entry"] % 2]
    assert shown_numbers(page) == kept and current(page) == kept[0]
    expect(page.locator("#count")).to_have_text(f"{len(kept)} of the 23 shown queries; 1 could not be ranked")


def test_both_methods_are_chosen_and_swapped(page, gallery):
    page.goto(gallery.url(split="zoo", sort="split"))
    page.focus(".panel [name=a]")
    page.select_option(".panel [name=a]", "unlearning_scores")
    assert page.evaluate("document.activeElement.name") == "a"  # the choice keeps the focus
    split = gallery.splits["zoo"]
    before, after = precisions(split, split["queries"][0], "unlearning_scores", "clip_tuned")
    expect(page.locator("#queries a").first).to_contain_text(f"{before:.3f} → {after:.3f}")
    assert "influence" not in page.locator(".panel").first.inner_text()
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    expect(page.locator("#queries a").first).to_contain_text(f"{after:.3f} → {before:.3f}")
    page.select_option(".panel [name=b]", "clip_tuned")  # the same twice is one panel
    assert page.locator(".panel").count() == 1


def test_the_keyboard_alone_will_do(page, gallery):
    page.goto(gallery.url(split="zoo", sort="split"))
    expect(page.locator("#help")).to_be_visible()
    for key, expected in (("ArrowRight", 1), ("j", 2), ("ArrowLeft", 1), ("k", 0), ("k", 0)):
        page.keyboard.press(key)
        assert current(page) == expected, key
    page.keyboard.press("f")
    assert page.evaluate("document.activeElement.name") == "split"
    page.keyboard.press("j")  # is for the list of choices now
    assert current(page) == 0
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "view"
    page.focus("#queries a[aria-current]")
    page.keyboard.press("ArrowDown")
    assert current(page) == 1 and page.evaluate("document.activeElement.dataset.query") == "1"
    assert page.locator('#queries a[tabindex="0"]').count() == 1
    page.focus("#next")
    page.keyboard.press("Enter")
    assert current(page) == 2 and page.evaluate("document.activeElement.id") == "next"


def test_a_link_makes_the_view_again_and_back_goes_back(page, gallery):
    view = dict(split="zoo", query=6, a="clip_tuned", b="unlearning_scores", type="media", category="fish", sort="low")
    page.goto(gallery.url(**view))
    assert current(page) == 6
    shown = page.locator("main").inner_text()
    expected = [page.input_value(f"[name={key}]") for key in view if key != "query"]
    assert expected == [value for key, value in view.items() if key != "query"]
    page.locator("#queries a:not([aria-current])").first.click()
    address = page.url
    assert current(page) != 6
    page.go_back()
    assert current(page) == 6 and page.locator("main").inner_text() == shown
    page.go_forward()
    assert page.url == address
    link = page.get_attribute("#queries a[aria-current]", "href")
    page.goto("about:blank")
    page.goto(f"file://{gallery.folder}/index.html{link}")
    assert page.url == address
    page.goto(gallery.url(split="nowhere", query=99, a="x", sort="y"))  # what is not there gets its default
    page.reload()
    assert re.search(r"#split=zoo&query=\d+&a=clip_pretrained&b=clip_tuned&sort=change$", page.url)


def test_a_split_is_loaded_when_it_is_chosen_and_missing_images_are_paths(page, gallery):
    loaded = []
    page.on("request", lambda sent: loaded.append(sent.url.removeprefix(f"file://{gallery.folder}/")))
    page.goto(gallery.url(split="zoo"))
    assert "zoo/data.js" in loaded and not any(url.startswith("alone/") for url in loaded)
    page.select_option("[name=split]", "alone")
    expect(page.locator(".panel")).to_have_count(1)  # there is one method
    split = gallery.splits["alone"]
    missing = [path for path, name in split["images"] if not name]
    expect(page.locator(".note")).to_contain_text(f"{len(missing)} of {len(split['images'])} images could not be read")
    entry = current(page) // 4
    assert sorted(page.locator(".exemplars .path").all_inner_texts()) == [f"gone/{2 * entry + i}.png" for i in (0, 1)]
    page.go_back()
    expect(page.locator("[name=split]")).to_have_value("zoo")
    expect(page.locator(".note")).to_have_count(0)


def test_no_serious_fault_for_those_who_cannot_see_it_and_no_overflow_on_a_phone(page, gallery, check_accessible):
    for width in (1280, 900, 390):
        page.set_viewport_size({"width": width, "height": 844})
        page.goto(gallery.url(split="zoo", query=1))
        check_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for panel in range(2):  # nothing runs into its neighbour
            for words in tiles(page, panel).locator(".numbers, .move, .mark").all():
                box, tile = words.bounding_box(), words.locator("xpath=ancestor::li").bounding_box()
                assert box["x"] + box["width"] <= tile["x"] + tile["width"] + 4
    first, second = (page.locator(".panel").nth(i).bounding_box() for i in range(2))
    assert first["y"] + first["height"] <= second["y"]
    page.click("#next")
    assert current(page) != 1


def test_no_query_and_no_data_are_said(page, tmp_path, check_accessible):
    few = ranking("pretrained", 0, query_prompt_type=text(["gpt", "gpt", "gpt", "gpt", *["media"] * 20]))
    page.goto(make_gallery(tmp_path / "few", [[few]], tmp_path).url(type="gpt", category="fish"))
    expect(page.locator("main")).to_contain_text(
        "No query that is shown of this split has this prompt type and category"
    )
    page.select_option("[name=category]", "bird")
    expect(page.locator("#queries a")).to_have_count(4)
    nothing = make_ranking([[]] * 4, [0, 0, 1, 1], ["gpt", "media"] * 2, split="zoo", exemplar=np.zeros(0, np.int64))
    gallery = make_gallery(tmp_path / "none", [[nothing]], tmp_path)
    page.goto(gallery.url())
    expect(page.locator("main")).to_have_text(
        "No query of this split was ranked by every method: there is none to show."
    )
    check_accessible(page)


@pytest.mark.workflow
def test_the_workflows_own_gallery_shows_its_rank_files(page, finished):
    """The page of a run of the tiny sample: two extractors, no influence."""
    results = finished.folder / "results"
    page.goto(f"file://{results}/gallery/index.html#split=sample_style&sort=split")
    rankings = {
        name: read_rank_file(results / f"ranks/sample_style/{name}/pretrained.h5") for name in ("tiny", "color")
    }
    numbers = shown_numbers(page)
    assert len(numbers) == TINY["gallery"]["queries"]
    for number in numbers[:3]:
        page.click(f'#queries a[data-query="{number}"]')
        for panel, made in enumerate(rankings.values()):
            precision = average_precision(made.offsets, made.ranks)[number]
            expect(page.locator(".panel").nth(panel).locator(".stats")).to_contain_text(f"{precision:.3f}")
            expect(page.locator(".panel").nth(panel).locator(".stats")).to_contain_text(
                f"#{made.ranks[made.offsets[number]]}"
            )
    wait_for_images(page, 2 * 4)
