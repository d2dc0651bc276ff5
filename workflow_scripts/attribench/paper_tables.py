"""The tables of a paper by one metric each, in LaTeX and Markdown: rows are methods, columns splits and prompt types.

The best of a column is bold; marks say how the others compare with it, as on the page of a run (`tables.marks`), and where a
variant differs from its extractor's features as they are.
"""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from attribench.formats.ranking import PRETRAINED, SCORES, Method
from attribench.plots.captions import interval_name
from attribench.tables.marks import CHANCE, MEANINGS, TIED, UNADJUSTED, UNKNOWN, marks_of
from attribench.tables.standings import Mean, Outcome, Standing
from attribench.tables.statistics import LEAST_ENTRIES

_NOTHING = "--"
_NOT_LATIN = 0x250  # the first letter that pdfLaTeX does not set by itself
_WIDE = 4  # columns from which on a table takes both columns of a page
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "[": "{[}", "]": "{]}",
}  # fmt: skip
_RAISED = {"\N{ALMOST EQUAL TO}": r"\approx", "\N{DEGREE SIGN}": r"\circ", "\N{DAGGER}": r"\dagger"}  # in LaTeX
_MARKDOWN = "\\`*_[]<>|~&$"


@dataclass(frozen=True)
class Protocol:
    """Hold what a table's note says of the run: benchmark, confidence, and of each split the images it ranks among."""

    benchmark: str
    confidence: float
    database: dict[str, int]
    hard_negatives: bool


@dataclass(frozen=True)
class _Markup:
    """Hold how one format writes text, a bold or underlined value, a superscript, and one that takes no width."""

    text: Callable[[str], str]
    bold: Callable[[str], str]
    underlined: Callable[[str], str]
    raised: Callable[[str], str]
    beside: Callable[[str], str]


def latex_text(text: str) -> str:
    """Return `text` as LaTeX prints it. Letters that pdfLaTeX lacks stay as they are: XeLaTeX and LuaLaTeX print them."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def markdown_text(text: str) -> str:
    """Return `text` as Markdown shows it."""
    return "".join(f"\\{letter}" if letter in _MARKDOWN else letter for letter in text)


def _latex_raised(marks: str) -> str:
    return f"$^{{{' '.join(_RAISED.get(mark, mark) for mark in marks)}}}$"


def _markdown_raised(marks: str) -> str:
    return f"<sup>{html.escape(marks)}</sup>"


_IN_LATEX = _Markup(
    *(latex_text, r"\textbf{{{}}}".format, r"\underline{{{}}}".format),
    *(_latex_raised, lambda marks: rf"\rlap{{{_latex_raised(marks)}}}"),
)
_IN_MARKDOWN = _Markup(markdown_text, "**{}**".format, "<u>{}</u>".format, _markdown_raised, _markdown_raised)


def latex_table(standings: Sequence[Standing], metric: str, protocol: Protocol) -> str:
    """Return a table in LaTeX with caption and note, for the package booktabs; a comment if no split has `metric`."""
    columns = [standing for standing in standings if standing.metric == metric]
    if not columns:
        return f"% {_left_out(metric)}\n"
    escaped, groups, first = [], [], 2
    for split, of_split in groupby(columns, key=lambda standing: standing.split):
        n = len(list(of_split))
        escaped.append(rf"\multicolumn{{{n}}}{{c}}{{{latex_text(split)}}}")
        groups.append(rf"\cmidrule(lr){{{first}-{first + n - 1}}}")
        first += n
    prompts = ["method", *(latex_text(standing.prompt_type) for standing in columns)]
    body, references = _rows(columns, _IN_LATEX), _reference_rows(columns)
    environment = "table*" if len(columns) >= _WIDE else "table"
    # Marks take no width: where there is room, they get some.
    gap = "7pt" if _WIDE <= len(columns) < 2 * _WIDE else "5.5pt"
    lines = [
        _packages(columns),
        rf"\begin{{{environment}}}",
        r"\centering\small",
        rf"\setlength{{\tabcolsep}}{{{gap}}}",
        rf"\caption{{{latex_text(_caption(metric, protocol))}}}\vspace{{4pt}}",
        rf"\begin{{tabular}}{{l{'c' * len(columns)}}}",
        r"\toprule",
        " & ".join(["", *escaped]) + r" \\",
        " ".join(groups),
        " & ".join(prompts) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in body),
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in references),
        r"\bottomrule",
        r"\end{tabular}",
        "",
        r"\smallskip",
        r"\begin{minipage}{\linewidth}\footnotesize",
        _note(columns, protocol, _IN_LATEX),
        r"\end{minipage}",
        rf"\end{{{environment}}}",
    ]
    return "\n".join(lines) + "\n"


def _packages(columns: Sequence[Standing]) -> str:
    """Return a comment that says what the table needs."""
    names = {text for standing in columns for text in (standing.split, *(mean.label for mean in standing.means))}
    if all(ord(letter) < _NOT_LATIN for name in names for letter in name):
        return r"% \usepackage[T1]{fontenc}, \usepackage{booktabs}"
    return r"% XeLaTeX or LuaLaTeX, \usepackage{booktabs}, and a font that has all letters of the names"


def markdown_table(standings: Sequence[Standing], metric: str, protocol: Protocol) -> str:
    """Return the same table in Markdown; a sentence if no split has `metric`."""
    columns = [standing for standing in standings if standing.metric == metric]
    if not columns:
        return f"{markdown_text(_left_out(metric))}\n"
    head = ["method", *(markdown_text(f"{standing.split}, {standing.prompt_type}") for standing in columns)]
    ruler = ["---", *[":---:"] * len(columns)]
    rows = [head, ruler, *_rows(columns, _IN_MARKDOWN), *_reference_rows(columns)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    caption = markdown_text(_caption(metric, protocol))
    return f"{caption}\n\n{table}\n\n{_note(columns, protocol, _IN_MARKDOWN)}\n"


def _left_out(metric: str) -> str:
    return f"No split has {metric}: of so few candidates every ranking has the same value."


def _caption(metric: str, protocol: Protocol) -> str:
    name = "Mean average precision" if metric == "mAP" else metric.capitalize()
    return f"{name} on benchmark {protocol.benchmark}, by split and prompt type."


def _rows(columns: Sequence[Standing], markup: _Markup) -> list[list[str]]:
    """Return a row of cells for each method, in the order of the tables."""
    labels = {mean.method: mean.label for standing in columns for mean in standing.means}
    return [
        [markup.text(label), *(_cell(standing, method, markup) for standing in columns)]
        for method, label in labels.items()
    ]


def _cell(standing: Standing, method: Method, markup: _Markup) -> str:
    mean = next((mean for mean in standing.means if mean.method == method), None)
    if mean is None:
        return _NOTHING
    text = f"{mean.value:.3f}"
    if len(standing.means) > 1 and standing.is_best(mean):
        text = markup.bold(text)
    elif standing.outcome(mean) is Outcome.TIED:
        text = markup.underlined(text)
    marks = marks_of(standing, mean) + _sign(standing, method)
    return text + (markup.beside(marks) if marks else "")


def _sign(standing: Standing, method: Method) -> str:
    """Return whether a variant is better (+) or worse (-) than its extractor's features as they are; nothing if neither."""
    base = Method(method.extractor, PRETRAINED)
    if method.variant in (PRETRAINED, SCORES) or base not in {mean.method for mean in standing.means}:
        return ""
    pair = standing.pair(method, base)
    if pair.outcome(standing.confidence) is not Outcome.AHEAD:
        return ""
    return "+" if pair.value > 0 else "-"


def _reference_rows(columns: Sequence[Standing]) -> list[list[str]]:
    """Return the row of chance, and that of the ceiling where that is below 1."""
    rows = [["chance", *(f"{standing.chance:.3f}" for standing in columns)]]
    if any(standing.ceiling < 1 for standing in columns):
        rows.append(["ceiling", *(f"{standing.ceiling:.3f}" for standing in columns)])
    return rows


def _note(columns: Sequence[Standing], protocol: Protocol, markup: _Markup) -> str:
    """Return what was done, and what bold, underlined and raised mean, in the words of the marks that the table has."""
    means = [(standing, mean) for standing in columns for mean in standing.means]
    signs = {_sign(standing, mean.method) for standing, mean in means} - {""}
    among = "and the exemplars of all entries" if protocol.hard_negatives else "and its own exemplars"
    sentences = [f"Each query ranks {_sizes(protocol)} {among}; values are means over {_counts(columns)}."]
    parts = [markup.text(" ".join(sentences))]
    if any(standing.others for standing in columns):
        parts.append(f"{markup.bold('Bold')}: the best of a column.")
    parts += _marks_in_words(means, protocol, markup)
    if signs:
        alpha = f"{1 - protocol.confidence:.4g}"
        words = {"+": " better", "-": " worse"}
        marks = ", ".join(markup.raised(sign) + words[sign] for sign in sorted(signs))
        than = f" than the same extractor's features without a mapper (p at most {alpha} after Holm's adjustment)."
        parts.append(marks + markup.text(than))
    parts.append(markup.text("Chance: a random ranking."))
    if any(standing.ceiling < 1 for standing in columns):
        parts.append(markup.text("Ceiling: what no ranking exceeds, as queries have more exemplars than the cut-off."))
    return " ".join(parts)


def _marks_in_words(means: Sequence[tuple[Standing, Mean]], protocol: Protocol, markup: _Markup) -> list[str]:
    """Return what each mark that a table of `means` has says of a value, and what a value without any of them is."""
    interval = f"the {interval_name(protocol.confidence)} of the paired difference, over entries,"
    alpha = f"{1 - protocol.confidence:.4g}"
    how = {
        TIED: f" ({interval} holds 0)",
        UNADJUSTED: f" ({interval} leaves out 0, but p after Holm's adjustment is above {alpha})",
        UNKNOWN: f" (fewer than {LEAST_ENTRIES} have no interval)",
    }
    found = "".join(marks_of(*pair) for pair in means)
    sentences = []
    for mark, meaning in MEANINGS.items():
        if mark == CHANCE and any(standing.outcome(mean) is Outcome.AHEAD for standing, mean in means):
            sentences.append(markup.text(f"All others: behind the best (p at most {alpha} after Holm's adjustment)."))
        if mark in found:
            underlined = f"{markup.underlined('Underlined')}, " if mark == TIED else ""
            sentences.append(underlined + markup.raised(mark) + markup.text(f": {meaning}{how.get(mark, '')}."))
    return sentences


def _sizes(protocol: Protocol) -> str:
    sizes = protocol.database
    if len(set(sizes.values())) == 1:
        return f"{next(iter(sizes.values())):,} database images"
    return "the database (" + ", ".join(f"{n:,} images on {split}" for split, n in sizes.items()) + ")"


def _counts(columns: Sequence[Standing]) -> str:
    """Return the numbers of entries and queries, once where they are the same in all columns."""
    counts = {(s.split, s.prompt_type): _count(s.n_queries, s.n_entries) for s in columns}
    if len(set(counts.values())) == 1:
        return next(iter(counts.values())) + " in each column"
    return "; ".join(f"{text} ({split}, {prompt_type})" for (split, prompt_type), text in counts.items())


def _count(n_queries: int, n_entries: int) -> str:
    queries, entries = ("query" if n_queries == 1 else "queries"), ("entry" if n_entries == 1 else "entries")
    return f"{n_queries:,} {queries} of {n_entries:,} {entries}"
