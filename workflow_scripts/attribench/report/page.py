"""The page: a template beside this file, filled in, with all that it needs inside it."""

import base64
import math
from pathlib import Path
from typing import Any

import itables.options
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from attribench.report.results import NOTHING
from attribench.tables.marks import MEANINGS

_FOLDER = Path(__file__).parent


def render(context: dict[str, Any]) -> str:
    """Return the page. `context` has what `page.html.j2` names; a name that it lacks raises UndefinedError.

    DataTables, as the package itables ships it, makes the tables sortable; without scripts they are plain tables.
    """
    bundle = Path(itables.options.dt_bundle)
    own = {
        "style": Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),
        "script": Markup((_FOLDER / "page.js").read_text(encoding="utf-8")),
        "tables_style": Markup(bundle.with_suffix(".css").read_text(encoding="utf-8")),
        "tables_script": base64.b64encode(bundle.read_bytes()).decode("ascii"),
    }
    return environment().get_template("page.html.j2").render(**context, **own)


def environment() -> Environment:
    """Return Jinja's environment of the template: all text in it is escaped."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"meanings": MEANINGS}
    made.filters |= {"megabytes": _megabytes, "duration": _duration}
    return made


def _megabytes(value: float) -> str:
    """Return megabytes as people read them: 0.02 MB, 12 MB, 3.4 GB; a dash for NaN."""
    if math.isnan(value):
        return NOTHING
    if 0 < value < 0.01:
        return "< 0.01 MB"
    return f"{value / 1000:.1f} GB" if value >= 1000 else f"{value:.0f} MB" if value >= 10 else f"{value:.2f} MB"


def _duration(seconds: float) -> str:
    """Return seconds as people read them: 4.2 s, 3 min 20 s, 5 h 7 min; a dash for NaN."""
    if math.isnan(seconds):
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"
