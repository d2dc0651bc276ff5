"""The live page in a real browser, by a real server on a free port of this machine."""

import csv
import io
import re
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from attribench.demo.run import Run
from attribench.formats.influence import read_influence
from attribench.formats.rank_file import read_rank_file
from helpers.clone import REPOSITORY
from helpers.demo_run import make_run
from PIL import Image
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
SECONDS = 60  # for the server to start, and for a first answer


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def address(config, tmp_path_factory):
    """The address of a server, which is ended by its process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "workflow_scripts/demo.py", "--server.port", str(port)]
    log = tmp_path_factory.mktemp("server") / "log"
    with open(log, "w") as file:
        server = subprocess.Popen(
            [*command, "--", "--configfile", str(config)], cwd=REPOSITORY, stdout=file, stderr=subprocess.STDOUT
        )
    url = f"http://localhost:{port}"
    try:
        for _ in range(SECONDS * 10):
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, log.read_text()
                time.sleep(0.1)
        else:
            pytest.fail(f"no server after {SECONDS} s: {log.read_text()}")
        yield url
    finally:
        server.terminate()
        server.wait(timeout=30)
    assert "Traceback" not in log.read_text()


def opened(page, address):
    page.goto(address)
    expect(page.get_by_text("Answered in").first).to_be_visible(timeout=SECONDS * 1000)
    settle(page)


def settle(page):
    """Wait until the page has its answer: the server says whether it is at work."""
    expect(page.locator("[data-testid=stApp][data-test-script-state=running]")).to_have_count(0, timeout=30_000)


def choose(page, label, option):
    """Choose by keyboard alone."""
    page.get_by_role("combobox", name=label).focus()
    page.keyboard.press("Control+A")
    page.keyboard.type(option)
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    settle(page)


def table(page, number=0):
    """Return the rows of a ranking, as text."""
    rows = page.locator("table").nth(number).locator("tbody tr")
    return [[cell.strip() for cell in row.locator("th, td").all_inner_texts()] for row in rows.all()]


def downloaded(page):
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    with open(download.value.path(), newline="") as file:
        return list(csv.DictReader(file))


def of_library(config, extractor, variant, path):
    """Return scores and influence of the first positions of the query at `path`, as the run's files have them."""
    results = Run([config]).config.results
    ranking = read_rank_file(f"{results}/ranks/zoo/{extractor}/{variant}.h5")
    influence = read_influence(f"{results}/influence/zoo/{extractor}/{variant}.h5", ranking)
    query = ranking.query_path.tolist().index(path)
    pairs, neighbours = ranking.first_positions(influence.top.shape[1])
    scores = [
        ranking.scores[pair] if pair >= 0 else ranking.neighbour_score[query, neighbour]
        for pair, neighbour in zip(pairs[query], neighbours[query], strict=True)
    ]
    return np.array(scores), influence.top[query]


def test_the_first_view_answers_with_the_librarys_numbers(page, address, config, check_accessible):
    opened(page, address)
    expect(page.get_by_role("heading", level=1, name="Live attribution")).to_be_visible()
    scores, influence = of_library(config, "tiny", "pretrained", "queries/0-object-0.png")
    rows = table(page)
    assert len(rows) == 13 and "all other 29 images together" in rows[-1]
    shown = [float(row[2].split()[0]) for row in rows[: len(scores)]]
    np.testing.assert_allclose(shown, 100 * influence, atol=0.051)
    assert [float(row[3]) for row in rows[: len(scores)]] == [round(score, 4) for score in scores]
    data = downloaded(page)
    exact = [float(row["influence"]) for row in data]
    np.testing.assert_allclose(exact[: len(scores)], influence, rtol=1.2e-4)
    assert [float(row["score"]) for row in data[: len(scores)]] == scores.tolist()
    assert sum(exact) == pytest.approx(1) and data[-1]["role"] == "others"
    assert [f"{100 * share:.1f} %" for share in exact[:3]] == [row[2] for row in rows[:3]]
    assert page.locator("ol.mosaic img").count() == 12 and not page.locator("ol.mosaic img:not([alt])").count()
    check_accessible(page)


def test_a_link_reproduces_what_was_chosen_by_keyboard(page, address, config):
    opened(page, address)
    choose(page, "Entry", "animal 2")
    choose(page, "Query", "gpt · 2-gpt-1")
    choose(page, "Extractor and variant", "tiny tuned")
    rows = table(page)
    scores, influence = of_library(config, "tiny", "tuned", "queries/2-gpt-1.png")
    assert [float(row[3]) for row in rows[: len(scores)]] == [round(score, 4) for score in scores]
    np.testing.assert_allclose([float(row[2].split()[0]) for row in rows[:10]], 100 * influence, atol=0.051)
    page.get_by_role("button", name="Link to this view").click()
    link = page.locator("[data-testid=stCode]").inner_text().strip()
    assert link.startswith(address)
    opened(page, link)
    assert table(page) == rows
    opened(page, f"{address}/?method=cl_ip")
    expect(page.get_by_text("The link asks for what this run does not have: method cl_ip.")).to_be_visible()


def test_two_extractors_stand_side_by_side(page, address, check_accessible):
    opened(page, address)
    choose(page, "Side by side with", "color")
    expect(page.locator("table")).to_have_count(2)
    first, second = table(page, 0), table(page, 1)
    paths = [{row[5] for row in rows[:-1]} for rows in (first, second)]
    n = len(paths[0] & paths[1])
    expect(page.get_by_text(f"Both methods have {n} of their first 12 images in common.")).to_be_visible()
    for rows in (first, second):
        assert sum("in both" in row[4] for row in rows[:-1]) == n
    assert {(row["extractor"], row["variant"]) for row in downloaded(page)} == {
        ("tiny", "pretrained"),
        ("color", "pretrained"),
    }
    check_accessible(page)


def test_uploads_are_answered_and_bad_ones_leave_the_page_up(page, address, config, check_accessible, tmp_path):
    opened(page, address)
    page.get_by_text("an image of mine").click()
    expect(page.get_by_text("Drop an image at the left.")).to_be_visible()
    check_accessible(page)
    upload = page.locator("input[type=file]")
    good = (config.parent / "root/queries/1-gpt-0.png").read_bytes()
    for name, content, message in (
        ("notes.png", b"no image", "no image in a format that is read here"),
        ("cut.png", good[: len(good) // 2], "truncated|Error"),
        ("empty.jpg", b"", "the file is empty"),
    ):
        upload.set_input_files({"name": name, "mimeType": "image/png", "buffer": content})
        expect(page.get_by_role("alert").get_by_text(re.compile(message))).to_be_visible()
        assert not page.locator("table").count()
    upload.set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": good})
    expect(page.get_by_text("of the influence goes to all 6 exemplars")).to_be_visible()
    scores, _ = of_library(config, "tiny", "pretrained", "queries/1-gpt-0.png")
    of_database = [float(row[3]) for row in table(page)[:-1] if row[4].startswith("database")]
    assert np.isin(np.round(of_database[:5], 3), np.round(scores, 3)).all()
    check_accessible(page)
    choose(page, "Exemplars that join the database", "none")
    expect(page.get_by_text("of the influence goes to the first database image")).to_be_visible()
    moving = io.BytesIO()
    frames = [Image.new("RGB", (60, 60), colour) for colour in ("red", "blue")]
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    upload.set_input_files({"name": "moving.gif", "mimeType": "image/gif", "buffer": moving.getvalue()})
    expect(page.get_by_text("2; the first one is taken")).to_be_visible()
    with open(tmp_path / "large.png", "wb") as file:
        file.truncate((50 << 20) + 1)
    upload.set_input_files(tmp_path / "large.png")
    reason = page.get_by_text("File must be 50.0MB or smaller.")
    expect(reason).to_be_visible()
    assert reason.bounding_box()["width"] > 100  # not for readers of screens alone
    said = page.locator(".query").evaluate("query => getComputedStyle(query, '::before').content")
    assert "was not taken. This is the answer about:" in said
    check_accessible(page)
