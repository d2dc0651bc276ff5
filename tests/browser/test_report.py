"""The page about a run, in a real browser."""

from itertools import pairwise

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


@pytest.fixture
def report(page, finished):
    """The page of the tiny run, whose tables are ready."""
    page.goto((finished.folder / "results/report.html").as_uri())
    page.wait_for_selector("html[data-ready]")
    return page


def column(page, number):
    """The cells of a column of the table of results, from above to below."""
    return page.locator(f"#results tbody tr td:nth-child({number})")


def test_the_answer_is_on_the_first_screen(report):
    for article in report.locator(".answers article").all():
        box = article.bounding_box()
        assert box["y"] + box["height"] < 900
    assert "How sure:" in report.locator(".answers").inner_text()


def test_a_table_is_sorted_by_mouse_and_by_keyboard(report):
    before = column(report, 4).all_text_contents()
    heading = report.locator("#results th:nth-child(4)")
    heading.click()
    falling = sorted(before, reverse=True)
    expect(column(report, 4)).to_have_text(falling)
    assert before not in (falling, falling[::-1])
    heading.get_by_role("button").focus()
    report.keyboard.press("Enter")
    expect(column(report, 4)).to_have_text(falling[::-1])


def test_a_table_is_filtered_by_words_and_by_a_columns_list(report):
    n = column(report, 1).count()
    marked = report.locator("#results tbody tr", has=report.locator("sup", has_text="?")).count()
    field = report.get_by_label("Filter rows:").first
    field.focus()
    report.keyboard.type("sample_style color")
    expect(column(report, 3)).to_have_text(["color", "color"])
    field.fill("too few entries")
    expect(column(report, 1)).to_have_count(marked)
    assert 0 < marked < n, "a mark is found by what it means"
    field.fill("sample_object color media")
    expect(report.locator("#results .dt-info").first).to_have_text(f"1 row of {n}")
    field.fill("")
    expect(column(report, 3)).to_have_count(n)
    opener = report.locator("#results th:nth-child(2) button.dtcc-button_dropdown")
    opener.focus()
    report.keyboard.press("Enter")
    report.locator(".dtcc-dropdown .dtcc-list-buttons button", has_text="media").click()
    expect(column(report, 2)).to_have_text(["media"] * 3)
    field.fill("color")
    expect(column(report, 2)).to_have_count(1)
    report.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(column(report, 2)).to_have_count(n)


def test_it_is_accessible_and_its_headings_are_in_order(report, check_accessible):
    check_accessible(report)
    levels = [
        int(tag[1]) for tag in report.locator("h1, h2, h3, h4, h5").evaluate_all("all => all.map(e => e.tagName)")
    ]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(text.strip() for text in report.locator("img").evaluate_all("all => all.map(e => e.alt)"))


def test_it_fits_a_phone_and_paper(report, check_accessible):
    report.set_viewport_size({"width": 360, "height": 740})
    assert report.evaluate("document.documentElement.scrollWidth") == 360
    check_accessible(report)
    for tag in ("h2", "h3", "h4", "p", "dt", "dd", "li", "figcaption"):
        report.locator(f"main {tag}").first.evaluate("part => part.append('L'.repeat(60))")
    assert report.evaluate("document.documentElement.scrollWidth") == 360, "however long a name is"
    report.emulate_media(media="print")
    assert not report.locator("nav").is_visible()
    report.locator("details").first.evaluate("part => (part.open = false)")
    report.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert report.locator("details dl").is_visible(), "what is folded is printed"
    assert not report.locator("details pre").is_visible(), "but all settings are not"


def test_every_picture_is_there(report):
    """A broken figure or thumbnail has no width."""
    widths = report.locator("img").evaluate_all(
        "all => Promise.all(all.map(e => e.decode().then(() => e.naturalWidth)))"
    )
    assert len(widths) > 20 and min(widths) > 0
