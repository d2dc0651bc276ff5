"""Bad input: the exception for it, and the hint at what was meant."""

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """Say that an input is bad: the message names the file or key, what was found and what was expected."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return the hint `; did you mean X?`, or an empty string when no choice is near."""
    close = difflib.get_close_matches(str(word), [str(choice) for choice in choices], n=1, cutoff=0.5)
    return f"; did you mean `{close[0]}`?" if close else ""
