"""One page about a run, for who has not seen the code: the answer, tables, figures, queries, and how it all was made."""

from pathlib import Path

# What the page is made of beside modules: their content belongs to its key.
TEMPLATES = tuple(Path(__file__).with_name(name) for name in ("macros.html.j2", "page.css", "page.html.j2", "page.js"))
