"""The marks beside values on the page and in the tables of a paper: how a method compares with the best, and with chance."""

import math

from attribench.tables.standings import Mean, Outcome, Standing

TIED, UNADJUSTED, UNKNOWN, CHANCE, SEEN = "\N{ALMOST EQUAL TO}", "<", "?", "\N{DEGREE SIGN}", "\N{DAGGER}"
_OF_OUTCOME = {Outcome.TIED: TIED, Outcome.UNADJUSTED: UNADJUSTED, Outcome.UNKNOWN: UNKNOWN}
MEANINGS = {  # of the first three: all others are behind the best
    TIED: "not told apart from the best",
    UNADJUSTED: "likely behind the best",
    UNKNOWN: "too few entries to tell it from the best",
    CHANCE: "not shown to be better than chance",
    SEEN: "tuned on this split",
}


def marks_of(standing: Standing, mean: Mean) -> str:
    """Return the marks of a method's value; empty for the best, and for what is behind it, if better than chance."""
    marks = _OF_OUTCOME.get(standing.outcome(mean), "")
    if not math.isnan(mean.low) and not standing.is_above_chance(mean):
        marks += CHANCE
    if mean.seen in ("train", "val"):
        marks += SEEN
    return marks
