"""`did you mean`."""

import difflib
from collections.abc import Iterable


def nearest(word: str, choices: Iterable[str]) -> str:
    """The hint `; did you mean X?`, or an empty string when nothing is near."""
    close = difflib.get_close_matches(str(word), [str(choice) for choice in choices], n=1, cutoff=0.5)
    return f"; did you mean `{close[0]}`?" if close else ""
