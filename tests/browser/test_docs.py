"""The site of the docs, built and opened: its links hold, it asks no other host, its search works from disk."""

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading

import pytest
from helpers.clone import REPOSITORY
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
PAGES = [("index", 1280), ("tutorial", 1280), ("reference/config", 400)]  # with a width of the window
BUILD = (sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q")  # as `make docs`


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site. Of broken links, and of all else that Sphinx warns of, the build would be ended."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run([*BUILD, REPOSITORY / "docs", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def served(site):
    """The site's address on the loopback: axe reads style sheets, which a browser does not let it from disk."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_make_docs_builds_in_the_same_way():
    makefile = (REPOSITORY / "Makefile").read_text()
    assert f"$(BIN)/python {' '.join(BUILD[1:])} docs docs/_build\n" in makefile
    assert subprocess.run(["git", "check-ignore", "-q", "docs/_build/index.html"], cwd=REPOSITORY).returncode == 0


def test_a_broken_link_ends_the_build(tmp_path):
    broken = ["formats.md#nowhere", "nowhere.md", "../rules/nowhere.smk", "#nowhere"]
    shutil.copytree(REPOSITORY / "docs/static", tmp_path / "docs/static")
    shutil.copy(REPOSITORY / "docs/conf.py", tmp_path / "docs")
    (tmp_path / "docs/formats.md").write_text("# Files\n")
    links = "".join(f"[x]({link})\n" for link in broken)
    (tmp_path / "docs/index.md").write_text(f"# Pages\n\n{links}\n```{{toctree}}\nformats\n```\n")
    done = subprocess.run([*BUILD, tmp_path / "docs", tmp_path / "site"], capture_output=True, text=True)
    assert done.returncode
    assert done.stderr.count("[myst.xref_missing]") == len(broken), done.stderr


def test_from_disk_it_is_searched_and_walked_through(page, site):
    """The fixture `page` refuses requests to other hosts, and errors in the console."""
    page.goto(f"file://{site}/index.html")
    page.get_by_role("link", name="Tutorial", exact=True).click()
    expect(page).to_have_title(re.compile("^Tutorial"))
    page.get_by_label("Search").first.fill("missing_variants")
    page.keyboard.press("Enter")
    page.locator("#search-results").get_by_role("link", name="Config keys", exact=True).first.click()
    expect(page.get_by_role("heading", name="What to evaluate")).to_be_visible()


@pytest.mark.parametrize(("path", "width"), PAGES, ids=["index", "tutorial", "config"])
def test_axe_finds_no_serious_fault(page, served, check_accessible, path, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{served}/{path}.html")
    check_accessible(page)
