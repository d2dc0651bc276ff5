"""The answer: which method attributes best on a split, and how sure that is, in sentences made from paired comparisons."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from attribench.plots.style import interval_name
from attribench.tables.standings import Mean, Outcome, Standing

_TUNED_ON = ("train", "val")  # of the column `seen`
_FLATTERED = "But its mappers were tuned on this split, which flatters it."
_NAMED = 4  # methods in a list; of more, their number
_OUTCOMES = {
    Outcome.AHEAD: "ahead of",
    Outcome.UNADJUSTED: "likely ahead of",
    Outcome.TIED: "not told apart from",
    Outcome.UNKNOWN: "higher, without an interval, than",
}


@dataclass(frozen=True)
class Answer:
    """Hold what is said of a split: the method to `use`, `why`, how `sure` that is, and sentences of each prompt type."""

    split: str
    use: str
    why: str
    sure: tuple[str, ...]
    details: tuple[tuple[str, tuple[str, ...]], ...]


def answers(standings: Sequence[Standing]) -> list[Answer]:
    """Return an answer for each split, from its standings by mAP; other metrics are named where they disagree."""
    out = []
    for split in dict.fromkeys(standing.split for standing in standings):
        of_split = [standing for standing in standings if standing.split == split]
        by_map = [standing for standing in of_split if standing.metric == "mAP"]
        others = {(s.prompt_type, s.metric): s for s in of_split if s.metric != "mAP"}
        details = tuple(
            (s.prompt_type, tuple(_sentences(s, [o for (p, _), o in others.items() if p == s.prompt_type])))
            for s in by_map
        )
        use, why, sure = _verdict(by_map)
        if any(standing.best.seen in _TUNED_ON for standing in by_map):
            sure += (_FLATTERED,)
        out.append(Answer(split, use, why, sure, details))
    return out


def difference_text(value: float, low: float, high: float) -> str:
    """Return `0.050 [0.017, 0.084]`; the value alone where it has no interval (NaN)."""
    return f"{plain_number(value)} [{plain_number(low)}, {plain_number(high)}]" if low == low else plain_number(value)


def plain_number(value: float) -> str:
    """Return a value with three digits and a true minus; `0.000` has no sign."""
    text = f"{value:.3f}"
    return text.replace("-0.000", "0.000").replace("-", "\N{MINUS SIGN}")


# --- of a split -------------------------------------------------------------------------------------------------------


def _verdict(standings: Sequence[Standing]) -> tuple[str, str, tuple[str, ...]]:
    """Return which method to use on a split, why, and how sure that is, with each of its prompt types."""
    leaders = list(dict.fromkeys(standing.best.label for standing in standings))
    values = listing([f"{plain_number(s.best.value)} {_with(s.prompt_type)}" for s in standings])
    everywhere = "" if len(standings) == 1 else " with every prompt type"
    why = f"It has the highest mAP{everywhere}: {values}."
    if len(leaders) > 1:
        which = "; ".join(f"{s.best.label} ({plain_number(s.best.value)}) {_with(s.prompt_type)}" for s in standings)
        return "It depends on the prompt type", f"Highest mAP: {which}.", _leads_of(standings)
    if all(math.isnan(standing.best.low) for standing in standings):
        n = max(standing.n_entries for standing in standings)
        few = f"{n} entr{'y is' if n == 1 else 'ies are'} too few for intervals, so this may be chance."
        return f"Perhaps {leaders[0]}", why, (f"We are not: {few}",)
    if not any(standing.is_above_chance(mean) for standing in standings for mean in standing.means):
        level = interval_name(standings[0].confidence)
        none = f"No method is shown to be better than chance: each {level} holds what chance gives."
        return "None of them", why, (none,)
    if all(len(standing.means) == 1 for standing in standings):
        alone = "It is better than chance, but the only method of this run: it cannot be compared."
        return leaders[0], why, (alone,)
    return _use(standings), why, _leads_of(standings)


def _use(standings: Sequence[Standing]) -> str:
    """Return which method to use: the one leader, or one of those that no prompt type tells from it."""
    leader, level = standings[0].best.label, f"{100 * standings[0].confidence:.4g} %"
    equals = [[mean.label for mean in standing.with_outcome(Outcome.TIED)] for standing in standings]
    tied = [mean.label for mean in standings[0].others if all(mean.label in labels for labels in equals)]
    if len(tied) > 2:
        return f"Use {leader}, or one of {len(tied)} others that cannot be told from it at the {level} level"
    return f"Use {' or '.join([leader, *tied])}"


def _with(prompt_type: str) -> str:
    return f"with {prompt_type} prompts"


def _leads_of(standings: Sequence[Standing]) -> tuple[str, ...]:
    """Return of each prompt type by how much its leader is before the next, and of which methods how surely."""
    return tuple(_lead_of(standing) for standing in standings if len(standing.means) > 1)


def _lead_of(standing: Standing) -> str:
    following = standing.others[0]
    pair = standing.lead(following.method)
    by = f"+{difference_text(pair.value, pair.low, pair.high)} over the next, {following.label}"
    parts = [
        f"{words} {_few([mean.label for mean in means])}"
        for outcome, words in _OUTCOMES.items()
        if (means := standing.with_outcome(outcome))
    ]
    return f"{_with(standing.prompt_type).capitalize()}: {by}. It is {'; '.join(parts)}."


# --- of a prompt type -------------------------------------------------------------------------------------------------


def _sentences(standing: Standing, others: Sequence[Standing]) -> list[str]:
    """Return what is said of a split's prompt type; `others` are its standings by other metrics."""
    best, interval = standing.best, interval_name(standing.confidence)
    value = f"{plain_number(best.value)}"
    if best.low == best.low:
        value += f" ({interval} {plain_number(best.low)} to {plain_number(best.high)})"
    sentences = [f"{best.label} has the highest mAP, {value}; a random ranking has {plain_number(standing.chance)}."]
    if best.low == best.low and not standing.is_above_chance(best):
        sentences.append("So it is not shown to be better than chance.")
    sentences += filter(None, [_ahead(standing), _unadjusted(standing), _tied(standing), _unknown(standing)])
    if any(pair.p_holm == pair.p_holm for pair in standing.pairs):
        n = len(standing.pairs)
        sentences.append(f"(p is adjusted for {n} pair{'s' if n > 1 else ''}, by Holm's method; intervals are not.)")
    if best.seen in _TUNED_ON:
        sentences.append(_FLATTERED)
    disagreeing: dict[str, list[str]] = {}
    for other in others:
        if other.best.label != best.label and other.best.value > _value_of(other, best):
            disagreeing.setdefault(other.best.label, []).append(other.metric)
    for label, metrics in disagreeing.items():
        sentences.append(f"By {listing(metrics)}, {label} is highest instead.")
    return sentences


def _value_of(standing: Standing, mean: Mean) -> float:
    return next((other.value for other in standing.means if other.method == mean.method), float("-inf"))


def _leads(standing: Standing, outcome: Outcome) -> str:
    """Return the methods of an outcome with the difference to each."""
    chosen = standing.with_outcome(outcome)
    texts = []
    for mean in chosen[:_NAMED]:
        pair = standing.lead(mean.method)
        p = f" (p {pair.p_holm:.2g})" if pair.p_holm == pair.p_holm else ""
        texts.append(f"{mean.label} by {difference_text(pair.value, pair.low, pair.high)}{p}")
    if len(chosen) > _NAMED:
        rest = len(chosen) - _NAMED
        texts.append(f"{rest} more by more than that" if rest > 1 else "one more by more than that")
    return listing(texts)


def _ahead(standing: Standing) -> str:
    leads = _leads(standing, Outcome.AHEAD)
    return f"It is ahead of {leads}." if leads else ""


def _unadjusted(standing: Standing) -> str:
    leads, chosen = _leads(standing, Outcome.UNADJUSTED), standing.with_outcome(Outcome.UNADJUSTED)
    if not chosen:
        return ""
    which = "these intervals leave" if len(chosen) > 1 else "this interval leaves"
    return (
        f"It is likely ahead of {leads}: {which} out 0, but of {len(standing.pairs)} pairs that are compared at once, one "
        "or the other may do so by chance."
    )


def _tied(standing: Standing) -> str:
    leads, chosen = _leads(standing, Outcome.TIED), standing.with_outcome(Outcome.TIED)
    which = "these intervals hold" if len(chosen) > 1 else "this interval holds"
    return f"It cannot be told from the next: it leads {leads}, and {which} 0." if leads else ""


def _unknown(standing: Standing) -> str:
    leads = _leads(standing, Outcome.UNKNOWN)
    return f"It leads {leads}; there are too few entries ({standing.n_entries}) for an interval." if leads else ""


def _few(labels: Sequence[str]) -> str:
    rest = len(labels) - _NAMED
    return listing([*labels[:_NAMED], f"{rest} other{'s' if rest > 1 else ''}"] if rest > 0 else labels)


def listing(words: Iterable[str]) -> str:
    """Return the words as a list in a sentence: `a, b and c`."""
    words = list(words)
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)
