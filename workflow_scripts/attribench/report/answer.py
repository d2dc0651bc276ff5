"""The answer: which method attributes best on a split, and how sure that is, in sentences made from paired comparisons."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from attribench.plots.style import interval_name
from attribench.tables.standings import Mean, Outcome, Standing

_TUNED_ON = ("train", "val")  # of the column `seen`
_FLATTERED = "But its mappers were tuned on this split, which flatters it."
_NAMED = 4  # methods in a list; of more, the number alone


@dataclass(frozen=True)
class Answer:
    """Hold what is said of a split: which method to `use`, `why`, how `sure` that is, and sentences of each prompt type."""

    split: str
    use: str
    why: str
    sure: str
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
            sure += f" {_FLATTERED}"
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


def _verdict(standings: Sequence[Standing]) -> tuple[str, str, str]:
    """Return which method to use on a split, why, and how sure that is, over all its prompt types."""
    leaders = list(dict.fromkeys(standing.best.label for standing in standings))
    values = listing([f"{plain_number(s.best.value)} {_with([s.prompt_type])}" for s in standings])
    why = f"It has the highest mAP{_everywhere(standings)}: {values}."
    if len(leaders) > 1:
        which = "; ".join(f"{s.best.label} ({plain_number(s.best.value)}) {_with([s.prompt_type])}" for s in standings)
        return "It depends on the prompt type", f"Highest mAP: {which}.", _depends(standings)
    if all(math.isnan(standing.best.low) for standing in standings):
        n = max(standing.n_entries for standing in standings)
        few = f"{n} entr{'y is' if n == 1 else 'ies are'} too few for intervals, so this may be chance."
        return f"Perhaps {leaders[0]}", why, f"We are not: {few}"
    if not any(standing.is_above_chance(mean) for standing in standings for mean in standing.means):
        level = interval_name(standings[0].confidence)
        return (
            "None of them",
            why,
            f"No method is shown to be better than chance: each {level} holds what chance gives.",
        )
    if all(len(standing.means) == 1 for standing in standings):
        return (
            leaders[0],
            why,
            "It is better than chance, but the only method of this run: it cannot be compared.",
        )
    return _use(standings), why, _certainty(standings)


def _use(standings: Sequence[Standing]) -> str:
    """Return which method to use: the one leader, or one of those that no prompt type tells from it."""
    leader, level = standings[0].best.label, f"{100 * standings[0].confidence:.4g} %"
    equals = [set(_labels_with([standing], Outcome.TIED)) for standing in standings]
    tied = [mean.label for mean in standings[0].others if all(mean.label in labels for labels in equals)]
    if len(tied) > 2:
        return f"Use {leader}, or one of {len(tied)} others that cannot be told from it at the {level} level"
    return f"Use {' or '.join([leader, *tied])}"


def _with(prompt_types: Sequence[str]) -> str:
    return f"with {listing(prompt_types)} prompts"


def _everywhere(standings: Sequence[Standing]) -> str:
    return "" if len(standings) == 1 else " with every prompt type"


def _depends(standings: Sequence[Standing]) -> str:
    """Return how sure each prompt type's leader is of its lead."""
    return " ".join(f"{_with([s.prompt_type]).capitalize()}, {_certainty([s])}" for s in standings)


def _certainty(standings: Sequence[Standing]) -> str:
    """Return how sure it is that the one leader is best."""
    level = f"{100 * standings[0].confidence:.4g} %"
    parts = [
        f"{where}it cannot be told from {_few(labels)}, as the paired {level} interval holds 0"
        for where, labels in _grouped(standings, Outcome.TIED)
    ]
    parts += [
        f"{where}its lead over {_few(labels)} is likely, not certain"
        for where, labels in _grouped(standings, Outcome.UNADJUSTED)
    ]
    parts += [
        f"{where}its lead over {_few(labels)} cannot be judged, for want of entries"
        for where, labels in _grouped(standings, Outcome.UNKNOWN)
    ]
    weak = _labels_with(standings, Outcome.TIED, Outcome.UNADJUSTED, Outcome.UNKNOWN)
    rest = [mean.label for mean in standings[0].others if mean.label not in weak]
    if not weak:
        everyone = "the other method" if len(rest) == 1 else f"each of the other {len(rest)} methods"
        return f"it is ahead of {everyone}{_everywhere(standings)}, at the {level} level."
    tail = f" It is ahead of {_few(rest)}, at the {level} level." if rest else ""
    n_ahead = sum(len(standing.with_outcome(Outcome.AHEAD)) for standing in standings)
    n = sum(len(standing.others) for standing in standings)
    if len(standings) > 1 and n_ahead:
        which = "(each other method with each prompt type)"
        tail = f" In {n_ahead} of {n} comparisons {which}, it is ahead at the {level} level."
    return "; ".join(parts) + "." + tail


def _labels_with(standings: Sequence[Standing], *outcomes: Outcome) -> list[str]:
    return list(dict.fromkeys(mean.label for standing in standings for mean in standing.with_outcome(*outcomes)))


def _grouped(standings: Sequence[Standing], outcome: Outcome) -> list[tuple[str, list[str]]]:
    """Return the methods of an outcome by the prompt types with which it is so: `with gpt, `, or nothing for all of them."""
    groups: dict[str, list[str]] = {}
    for label in _labels_with(standings, outcome):
        of_label = [s.prompt_type for s in standings if label in [mean.label for mean in s.with_outcome(outcome)]]
        where = "" if len(of_label) == len(standings) else f"{_with(of_label)}, "
        groups.setdefault(where, []).append(label)
    return [*groups.items()]


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
        texts.append(f"{mean.label} by {difference_text(pair.value, pair.low, pair.high)}")
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
    p = max(standing.lead(mean.method).p_holm for mean in chosen)
    which = "these intervals leave" if len(chosen) > 1 else "this interval leaves"
    return (
        f"It is likely ahead of {leads}: {which} out 0, but of {len(standing.pairs)} pairs that are compared at once, one "
        f"or the other does so by chance (p {p:.2g} after Holm's adjustment)."
    )


def _tied(standing: Standing) -> str:
    leads, chosen = _leads(standing, Outcome.TIED), standing.with_outcome(Outcome.TIED)
    which = "these intervals hold" if len(chosen) > 1 else "this interval holds"
    return f"It cannot be told from the next: it leads {leads}, and {which} 0." if leads else ""


def _unknown(standing: Standing) -> str:
    leads = _leads(standing, Outcome.UNKNOWN)
    return f"It leads {leads}; there are too few entries ({standing.n_entries}) for an interval." if leads else ""


def _few(labels: Sequence[str]) -> str:
    return listing(labels) if len(labels) <= _NAMED else f"{len(labels)} other methods"


def listing(words: Iterable[str]) -> str:
    """Return the words as a list in a sentence: `a, b and c`."""
    words = list(words)
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)
