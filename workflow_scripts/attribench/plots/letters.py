"""Warn of letters that no font has: each job that draws figures in its log, and a run of all logs on the terminal."""

import re
from collections.abc import Iterable
from pathlib import Path

_NO_FONT = "no installed font has the letters"


def without_font_text(letters: Iterable[str], example: str = "") -> str:
    """Return the warning that no font has `letters`; `example` stands behind them."""
    shown = " ".join(f"{letter!r} (U+{ord(letter):04X})" for letter in letters)
    return (
        f"{_NO_FONT} {shown}{example}: figures show boxes in their place; install one that has them, such as Noto Sans CJK "
        "for Chinese, Japanese and Korean"
    )


def letters_in_logs(logs: Iterable[Path | str]) -> list[str]:
    """Return the letters that warnings in `logs` name, each once; logs that are not there name none."""
    texts = [Path(log).read_text(encoding="utf-8", errors="replace") for log in logs if Path(log).is_file()]
    lines = [line for text in texts for line in text.splitlines() if _NO_FONT in line]
    codes = [code for line in lines for code in re.findall(r"\(U\+([0-9A-F]{4,6})\)", line)]
    return [chr(int(code, 16)) for code in dict.fromkeys(codes)]
