"""The tables of a paper: marks, escaping, and that a real LaTeX and a real Markdown show what they say."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from attribench.paper_tables import Protocol, latex_table, latex_text, markdown_table, markdown_text
from helpers.standings import made_standings
from markdown_it import MarkdownIt

PROTOCOL = Protocol("sample", 0.95, {"zoo": 1500}, False)
GOOD, MIXED, SWAPPED, BAD = [1] * 12, [1, 2] * 6, [2, 1] * 5 + [2, 2], [60] * 12
RANKS = {
    "clip": {"object": BAD, "gpt": MIXED},
    "clip_tuned": {"object": MIXED, "gpt": BAD},
    "dino": {"object": SWAPPED, "gpt": GOOD},
}
EVIL = r"50% of_A&B #1 {x} $y$ ~^\ <b>|`*[z]\\é" + '"'


def latex_rows(table):
    """Return the cells of the rows by the method's name."""
    rows = [line.removesuffix(r" \\").split(" & ") for line in table.splitlines() if line.endswith(r" \\")]
    return {row[0]: row[1:] for row in rows}


def test_best_ties_and_significance_are_marked():
    rows = latex_rows(latex_table(made_standings(RANKS), "mAP", PROTOCOL))
    assert rows["method"] == ["object", "gpt"]
    assert rows["clip"] == [r"0.017\rlap{$^{\circ}$}", "0.750"]
    assert rows[r"clip\_tuned"] == [r"\textbf{0.750}\rlap{$^{+}$}", r"0.017\rlap{$^{\circ -}$}"]
    assert rows["dino"] == [r"\underline{0.708}\rlap{$^{\approx}$}", r"\textbf{1.000}"]
    assert rows["chance"] == ["0.051", "0.051"] and "ceiling" not in rows


def test_the_marks_are_those_of_the_page():
    """Between a and b, as between c and d, 6 of 9 entries differ: the interval leaves out 0, but p after Holm's is 0.06."""
    a, b, c, d = [1] * 9, [1] * 3 + [2] * 6, [60] * 9, [60] * 3 + [61] * 6
    near = {"a": {"gpt": a}, "b": {"gpt": b}, "c": {"gpt": c}, "d": {"gpt": d}}
    table = latex_table(made_standings(near), "mAP", PROTOCOL)
    assert latex_rows(table)["b"] == [r"0.667\rlap{$^{<}$}"]
    assert "$^{<}$: likely behind the best (the 95 \\% interval" in table
    assert "after Holm's adjustment is above 0.05). All others: behind the best" in table


def test_equal_methods_are_all_the_best():
    rows = latex_rows(latex_table(made_standings({"a": {"gpt": MIXED}, "b": {"gpt": MIXED}}), "mAP", PROTOCOL))
    assert rows["a"] == rows["b"] == [r"\textbf{0.750}"]


def test_the_note_explains_the_marks_that_there_are_and_no_others():
    both = latex_table(made_standings(RANKS), "mAP", PROTOCOL)
    for text in (
        "1,500 database images and its own exemplars",
        "12 queries of 12 entries in each column",
        "Underlined",
        " better, $^{-}$ worse than",
    ):
        assert text in both
    plain = latex_table(made_standings({"a": {"gpt": GOOD}, "b": {"gpt": BAD}}), "mAP", PROTOCOL)
    assert "Underlined" not in plain and "mapper" not in plain and "Ceiling" not in plain
    few = markdown_table(made_standings({"a": {"gpt": [1, 1]}, "b": {"gpt": [9, 9]}}), "mAP", PROTOCOL)
    one = latex_table(made_standings({"日本": {"gpt": [3]}}), "mAP", PROTOCOL)
    assert "1 query of 1 entry in each column" in one and "Bold" not in one and "XeLaTeX or LuaLaTeX" in one
    assert "too few entries to tell it from the best (fewer than 6 have no interval)" in few and "<u>" not in few
    hard = markdown_table(
        made_standings(RANKS), "mAP", replace(PROTOCOL, hard_negatives=True, database={"a": 1, "b": 2})
    )
    assert "the database (1 images on a, 2 images on b) and the exemplars of all entries" in hard


def test_splits_without_the_metric_or_method_leave_a_dash_or_a_comment():
    zoo, sea = made_standings(RANKS), made_standings({"clip": {"gpt": GOOD}}, split="sea")
    rows = latex_rows(latex_table([*zoo, *sea], "mAP", PROTOCOL))
    assert rows["dino"][-1] == "--" and rows["clip"][-1] == "1.000", "one method is not the best of several"
    assert latex_table(zoo, "recall@100", PROTOCOL).startswith("% No split has recall@100")
    assert markdown_table(zoo, "recall@100", PROTOCOL).startswith("No split has recall@100")


def named(standings, label):
    """Return the standings with `label` for the method clip, and as the name of a split and prompt type."""
    out = []
    for standing in standings:
        means = tuple(replace(m, label=label) if m.label == "clip" else m for m in standing.means)
        out.append(replace(standing, means=means, split=label))
    return out


def test_a_markdown_parser_shows_the_table():
    html = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(markdown_table(named(made_standings(RANKS), EVIL), "mAP", PROTOCOL))
    )
    shown = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", html)
    escaped = EVIL.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    assert shown[:4] == ["method", f"{escaped}, object", f"{escaped}, gpt", escaped]
    assert "<strong>0.750</strong><sup>+</sup>" in shown and "<u>0.708</u><sup>≈</sup>" in shown
    assert len(shown) == 3 * 5, "the head, three methods, chance"
    assert markdown_text("a_b $y$") == r"a\_b \$y\$"


def test_a_real_latex_prints_the_table(tmp_path):
    if not shutil.which("pdflatex"):
        pytest.skip("pdflatex is not installed")
    standings = made_standings(RANKS, recall_ks=(1, 5))
    wide = [replace(s, split=f"a long name of split_{i}") for i in range(4) for s in standings]
    tables = {
        "plain": latex_table(standings, "mAP", PROTOCOL),
        "evil": latex_table(named(standings, EVIL), "recall@1", PROTOCOL),
        "wide": latex_table(wide, "recall@5", PROTOCOL),
        "none": latex_table(standings, "recall@100", PROTOCOL),
    }
    for name, table in tables.items():
        (tmp_path / f"{name}.tex").write_text(table)
    inputs = "\n".join(rf"\input{{{name}}}" for name in tables)
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs}\usepackage[margin=1in]{geometry}"
        rf"\begin{{document}}{inputs}\end{{document}}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    log = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, log[-2000:]
    assert "Overfull" not in log
    text = subprocess.run(
        ["pdftotext", "-layout", "paper.pdf", "-"], cwd=tmp_path, capture_output=True, text=True
    ).stdout
    assert "Table 1: Mean average precision on benchmark sample, by split and prompt type." in text
    spaceless = "".join(text.split())
    assert re.search(r"clip_?tuned0\.750\+?0\.017", spaceless), text
    assert "".join(EVIL.split()) in spaceless, text


def test_every_ascii_character_is_printed_as_it_is():
    """Characters that mean something to LaTeX are escaped, and no others."""
    letters = [chr(code) for code in range(32, 127)]
    assert {letter for letter in letters if latex_text(letter) != letter} == set('\\&%$#_{}~^<>|"[]')
