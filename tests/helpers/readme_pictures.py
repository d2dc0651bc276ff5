"""Take the pictures of README.md and docs/ anew, from a finished run: python tests/helpers/readme_pictures.py RESULTS

docs/report.jpg and docs/gallery.jpg are the pages as a browser shows them, docs/differences.png is the figure.
docs/sample.jpg, the first rows of a contact sheet, and docs/demo.jpg, of `make demo`, are taken by hand.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parents[2] / "docs"
BROWSER = {"executable_path": "/usr/bin/chromium", "args": ["--no-sandbox", "--disable-gpu"]}
PAGES = {"report.jpg": "report.html", "gallery.jpg": "gallery/index.html"}


def take(results: Path) -> None:
    """Write the pictures of the pages in the folder `results`."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**BROWSER)
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        for picture, file in PAGES.items():
            page.goto((results / file).resolve().as_uri(), wait_until="networkidle")
            with Image.open(io.BytesIO(page.screenshot())) as image:
                image.convert("RGB").save(DOCS / picture, quality=80, optimize=True)
        browser.close()
    shutil.copyfile(results / "plots/sample_style_differences.png", DOCS / "differences.png")


if __name__ == "__main__":
    take(Path(sys.argv[1]))
