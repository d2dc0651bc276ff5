"""The answer as HTML: the query, images sized by influence, and the table of the ranking."""

import math
from collections.abc import Callable, Sequence
from html import escape
from pathlib import PurePosixPath

from attribench.demo.attribution import Attribution, Candidate

Picture = Callable[[str], str | None]  # of a path: the image as a data: address, None if it is not on this disk

_LARGEST, _SMALLEST = 176, 36  # pixels, the sides of images in the mosaic


def seconds_text(seconds: float) -> str:
    """Return a time as the page says it: 4 ms, 0.46 s, 15.5 s."""
    if seconds < 0.1:
        return f"{max(1, round(1000 * seconds))}\N{NO-BREAK SPACE}ms"
    return f"{seconds:.{2 if seconds < 10 else 1}f}\N{NO-BREAK SPACE}s"


def percent(share: float) -> str:
    """Return `share` as a percentage of one decimal or two digits: 34.2 %, 0.58 %, 0.0041 %, under 0.0001 %."""
    value = 100 * share
    if 0 < value < 0.0001:
        return "under 0.0001 %"
    decimals = 1 if value >= 1 or not value else 1 - math.floor(math.log10(value))
    return f"{value:.{decimals}f} %"


def query_card(picture: str | None, title: str, facts: Sequence[tuple[str, str]]) -> str:
    """Return the query, beside its `facts`: name and value of each."""
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{_breakable(value)}</dd>" for name, value in facts)
    return f'<div class="at"><div class="query">{_image(picture, title)}<dl>{listed}</dl></div></div>'


def answer_line(answer: Attribution) -> str:
    """Return in words what the answer says."""
    if answer.remaining is None:
        found = f"Found: {_ranks(answer)} among {answer.n_database:,} database images."
        return found if answer.own else "Ranked by score."
    spread = max(1, round(answer.effective_number))
    if answer.n_exemplars:
        share, whose = answer.on_exemplars, _ranks(answer) if answer.own else f"all {answer.n_exemplars:,} exemplars"
    else:
        share, whose = answer.first[0].influence, "the first database image"
    over = f"about {spread:,} {'image' if spread == 1 else 'images'}"
    return f"<strong>{percent(share)}</strong> of the influence goes to {whose}. It is spread over {over}."


def _ranks(answer: Attribution) -> str:
    n, ranks = len(answer.own), ", ".join(f"{one.rank:,}" for one in answer.own[:8])
    more = ", …" if n > 8 else ""
    return (
        f"the query's {n} exemplars, at ranks {ranks}{more}" if n > 1 else f"the query's only exemplar, at rank {ranks}"
    )


def parts_bar(answer: Attribution) -> str:
    """Return a bar of the whole influence: of the exemplars, of the database images that are shown, and of all others."""
    shown = [one for one in answer.first if not one.is_exemplar]
    of_shown = sum(one.influence for one in shown)
    parts = [
        (
            "own",
            answer.on_exemplars,
            f"{answer.n_exemplars:,} {'exemplar' if answer.n_exemplars == 1 else 'exemplars'}",
        ),
        ("shown", of_shown, f"{len(shown):,} database images below"),
        ("rest", 1 - answer.on_exemplars - of_shown, f"{answer.n_database - len(shown):,} other database images"),
    ]
    parts = [(name, max(0.0, share), text) for name, share, text in parts if not text.startswith("0 ")]
    bars = "".join(f'<span class="{name}" style="width: {100 * share:.3f}%"></span>' for name, share, _ in parts)
    key = "".join(f'<li><i class="{name}"></i>{text}: {percent(share)}</li>' for name, share, text in parts)
    return f'<div class="parts" aria-hidden="true">{bars}</div><ul class="key">{key}</ul>'


def mosaic(answer: Attribution, picture: Picture, top: float) -> str:
    """Return the first images, in areas that are proportional to their influence (or all alike, without a calibrator).

    top: the influence that the largest has; side by side, that of both answers.
    """
    figures = []
    for one in answer.first:
        share = one.influence / top if one.influence is not None and top else 0.25 if one.influence is None else 0
        side = max(_SMALLEST, round(_LARGEST * math.sqrt(share)))
        value = f"{one.score:.3f}" if one.influence is None else percent(one.influence)
        what = "exemplar" if one.is_exemplar else "database image"
        image = _image(picture(one.path), f"Rank {one.rank}, {what}, {value}: {_name(one)}", side, one.path)
        tag = '<span class="tag">exemplar</span>' if one.is_exemplar else '<span class="database">database</span>'
        kind = ' class="exemplar"' if one.is_exemplar else ""
        figures.append(f"<li{kind}><figure>{image}<figcaption>{value}<br>{tag}</figcaption></figure></li>")
    return f'<div class="at"><ol class="mosaic">{"".join(figures)}</ol></div>'


def ranking_table(answer: Attribution, picture: Picture, label: str, also: frozenset[str] = frozenset()) -> str:
    """Return the table of the ranking, which ends with what remains. also: paths that another method has among its first."""
    has_influence = answer.remaining is not None
    influence = '<th scope="col" class="number">Influence</th>' if has_influence else ""
    head = (
        f'<tr><th scope="col" class="number">Rank</th><th scope="col">Image</th>{influence}'
        '<th scope="col" class="number">Score</th><th scope="col">Source</th><th scope="col">Path</th></tr>'
    )
    rows = "".join(_row(one, picture, answer.first[0], one.path in also) for one in answer.first)
    others = ""
    if answer.n_others:
        share = f'<td class="number">{percent(answer.remaining)}</td>' if has_influence else ""
        others = (
            f'<tr class="others"><td></td><td></td>{share}<td></td>'
            f'<th scope="row" colspan="2">all other {answer.n_others:,} images together</th></tr>'
        )
    caption = f"<caption>Ranking by {escape(label)}</caption>"
    return (
        f'<div class="at"><div class="scroll" tabindex="0" role="region" aria-label="Ranking by {escape(label)}">'
        f"<table>{caption}<thead>{head}</thead><tbody>{rows}{others}</tbody></table></div></div>"
    )


def _row(one: Candidate, picture: Picture, first: Candidate, is_shared: bool) -> str:
    what = f'<span class="tag">exemplar</span>, entry {one.entry}' if one.is_exemplar else "database"
    what += "<br>in both" if is_shared else ""
    share = ""
    if one.influence is not None:
        width = round(100 * one.influence / first.influence) if first.influence else 0
        share = f'<td class="number">{percent(one.influence)}<span class="bar" style="width: {width}%"></span></td>'
    kind = ' class="exemplar"' if one.is_exemplar else ""
    return (
        f'<tr{kind}><td class="number">{one.rank}</td><td>{_image(picture(one.path), _name(one))}</td>{share}'
        f'<td class="number">{one.score:.4f}</td><td>{what}</td><td class="path">{_breakable(one.path)}</td></tr>'
    )


def _image(picture: str | None, text: str, side: int | None = None, path: str = "") -> str:
    """Return an image with the alternative `text`, or a grey square in its place, with the end of its `path`."""
    size = f' style="width: {side}px; height: {side}px"' if side else ""
    if picture is None:
        label = escape(f"{text} (not here, or not readable)")
        inside = f"<span>{escape(PurePosixPath(path).name) or 'not here'}</span>"
        return f'<span class="none" role="img" aria-label="{label}" title="{escape(path)}"{size}>{inside}</span>'
    return f'<img src="{picture}" alt="{escape(text)}"{size}>'


def _breakable(path: str) -> str:
    """Return `path` as HTML that may break behind each slash."""
    return escape(path).replace("/", "/<wbr>")


def _name(one: Candidate) -> str:
    return PurePosixPath(one.path).name
