"""A real browser for the tests of pages: Debian's Chromium, without a screen."""

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
# Without a sandbox, as tests may run as root. The rest keeps the browser from looking for updates.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
LOOPBACK = re.compile(r"(file|data|blob|about):|(https?|wss?)://(localhost|127\.0\.0\.1)[:/]")
# Where screenshots are kept, by the test's name.
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS", "test-artifacts/screenshots"))


@pytest.fixture(scope="session")
def chromium():
    if not Path(CHROMIUM).exists():
        pytest.skip(f"{CHROMIUM} is not installed (Debian's package chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, request, tmp_path):
    """A page that must log no error in the console and send no request to another host."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    errors, requests = [], []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda sent: requests.append(sent.url))
    page.on("websocket", lambda opened: requests.append(opened.url))
    yield page
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{request.node.name}.png")
    context.close()
    assert not errors, f"errors in the console: {errors}"
    foreign = [url for url in requests if not LOOPBACK.match(url)]
    assert not foreign, f"requests to other hosts: {foreign}"


@pytest.fixture
def check_accessible():
    """Return a function that fails where axe-core finds a serious fault on a page."""
    from axe_playwright_python.sync_playwright import Axe

    def check(page: Page) -> None:
        # Without `preload`, which would fetch style sheets: a page that is opened from disk may not.
        violations = Axe().run(page, options={"preload": False}).response["violations"]
        serious = [fault for fault in violations if fault["impact"] in ("serious", "critical")]
        shown = [
            f"{fault['id']}: {fault['help']}: {[node['html'] for node in fault['nodes'][:3]]}" for fault in serious
        ]
        assert not serious, "\n".join(shown)

    return check
