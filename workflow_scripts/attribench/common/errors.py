"""Bad input: the exception for it, the hint at what was meant, and paths in messages."""

import difflib
from collections.abc import Callable, Iterable, Sequence


class InputError(Exception):
    """Say that an input is bad: the message names the file or key, what was found and what was expected."""


def raise_all(checks: Iterable[Callable[[], None]]) -> None:
    """Call each of `checks`, and raise one InputError with the messages of all that fail."""
    faults = []
    for check in checks:
        try:
            check()
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError("\n".join(dict.fromkeys(faults)))


def nearest(word: str, choices: Iterable[str], likeness: float = 0.5) -> str:
    """Return the hint `; did you mean X?`, or an empty string when no choice has this `likeness` (0 to 1)."""
    by_lower_case = {str(choice).lower(): str(choice) for choice in choices}
    close = difflib.get_close_matches(str(word).lower(), by_lower_case, n=1, cutoff=likeness)
    return f"; did you mean `{by_lower_case[close[0]]}`?" if close else ""


def shown(path: str) -> str:
    """Return `path` as a message shows it: in quotes where it would break the line or hide something."""
    return path if path.isprintable() and path == path.strip() else repr(path)


def listed(paths: Sequence[str], most: int = 20) -> str:
    """Return the first `paths`, a line each, and how many more there are; for the end of a message."""
    rest = f"\n  … and {len(paths) - most} more" if len(paths) > most else ""
    return "".join(f"\n  {shown(path)}" for path in paths[:most]) + rest


def first_line(error: BaseException) -> str:
    """Return the first line of what another library's `error` says; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
