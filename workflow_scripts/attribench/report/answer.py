"""The answer: which method attributes best on a split, and how sure that is, in sentences made from paired comparisons."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from attribench.formats.ranking import PRETRAINED, SCORES
from attribench.plots.captions import count, interval_name, listing
from attribench.tables.standings import Mean, Outcome, Standing

_TUNED_ON = ("train", "val")  # of the column `seen`
_NAMED, _LEADERS = 4, 2  # methods in a list, and in one of equals; of more, their number
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


def answers(standings: Sequence[Standing], tuned: Mapping[str, Sequence[str]], samples: int) -> list[Answer]:
    """Return an answer for each split, from its standings by mAP; other metrics are named where they disagree.

    tuned: the training splits of each variant that the workflow tuned. samples: of the sign-flip test, which gives no p
    below one over samples + 1 where it draws its sign vectors.
    """
    floor = 1 / (samples + 1)
    out = []
    for split in dict.fromkeys(standing.split for standing in standings):
        of_split = [standing for standing in standings if standing.split == split]
        by_map = [standing for standing in of_split if standing.metric == "mAP"]
        others = {(s.prompt_type, s.metric): s for s in of_split if s.metric != "mAP"}
        details = tuple(
            (s.prompt_type, tuple(_sentences(s, [o for (p, _), o in others.items() if p == s.prompt_type], floor)))
            for s in by_map
        )
        use, why, sure = _verdict(by_map)
        flattered = _flattered(mean for standing in by_map for mean in standing.leaders)
        why = " ".join([why, *_tuning(by_map, tuned)])
        out.append(Answer(split, use, why, (*sure, *flattered), details))
    return out


def difference_text(value: float, low: float, high: float, unit: str = "") -> str:
    """Return `0.050 [0.017, 0.084]`, with a `unit` behind the value; without brackets where there is no interval (NaN)."""
    text = f"{plain_number(value)} {unit}".rstrip()
    return f"{text} [{plain_number(low)}, {plain_number(high)}]" if low == low else text


def p_text(p_value: float, p_holm: float, floor: float) -> str:
    """Return the adjusted p, `p 0.034`; a bound, rounded up, where random sign vectors give no smaller one: `p ≤ 0.001`."""
    if p_value <= floor * (1 + 1e-9):
        return f"p \N{LESS-THAN OR EQUAL TO} {math.ceil(1000 * p_holm) / 1000:.3f}"
    return f"p {p_holm:.3f}" if p_holm >= 0.0005 else "p < 0.001"


def plain_number(value: float) -> str:
    """Return a value with three digits and a true minus; `0.000` has no sign."""
    text = f"{value:.3f}"
    return text.replace("-0.000", "0.000").replace("-", "\N{MINUS SIGN}")


# --- of a split -------------------------------------------------------------------------------------------------------


def _verdict(standings: Sequence[Standing]) -> tuple[str, str, tuple[str, ...]]:
    """Return which method to use on a split, why, and how sure that is, with each of its prompt types."""
    if all(len(standing.means) == 1 for standing in standings):
        return _verdict_on_one(standings)
    by_prompt = [[mean.label for mean in standing.leaders] for standing in standings]
    leaders = [label for label in by_prompt[0] if all(label in labels for labels in by_prompt)]
    if not leaders:
        which = [
            f"{_few(labels, _LEADERS)} ({plain_number(standing.best.value)}) {_with(standing.prompt_type)}"
            for standing, labels in zip(standings, by_prompt, strict=True)
        ]
        return "It depends on the prompt type", f"Highest mAP: {'; '.join(which)}.", _leads_of(standings)
    everywhere = "" if len(standings) == 1 else " with every prompt type"
    why = f"{_highest(leaders)} mAP{everywhere}: {_values(standings)}."
    if all(math.isnan(standing.best.low) for standing in standings):
        return f"Perhaps {_few(leaders, _LEADERS)}", why, (f"We are not: {_too_few(standings)}",)
    if not any(standing.is_above_chance(mean) for standing in standings for mean in standing.means):
        level = interval_name(standings[0].confidence)
        none = f"No method is shown to be better than chance: each {level} holds what chance gives."
        return "None of them", why, (none,)
    return _use(standings, leaders[0]), why, _leads_of(standings)


def _verdict_on_one(standings: Sequence[Standing]) -> tuple[str, str, tuple[str, ...]]:
    """Return what the only method of a split is worth, why, and how sure that is."""
    chance = listing([plain_number(standing.chance) for standing in standings])
    why = f"{standings[0].best.label} has mAP {_values(standings)}; a random ranking has {chance}."
    alone = "It is the only method here: it cannot be compared."
    above = [_with(standing.prompt_type) for standing in standings if standing.is_above_chance(standing.best)]
    if not above:
        few = [_too_few(standings)] if all(math.isnan(standing.best.low) for standing in standings) else []
        return "One method, not shown to be better than chance", why, (*few, alone)
    where = f" {listing(above)} only" if len(above) < len(standings) else ""
    return f"One method, better than chance{where}", why, (alone,)


def _values(standings: Sequence[Standing]) -> str:
    return listing([f"{plain_number(s.best.value)} {_with(s.prompt_type)}" for s in standings])


def _too_few(standings: Sequence[Standing]) -> str:
    n = max(standing.n_entries for standing in standings)
    return f"{count(n, 'entry is', 'entries are')} too few for intervals, so this may be chance."


def _highest(labels: Sequence[str]) -> str:
    return f"{_few(labels, _LEADERS)} {'has the' if len(labels) == 1 else 'have the same'} highest"


def _flattered(means: Iterable[Mean]) -> list[str]:
    """Return the sentence on those of `means` that were tuned on the split; none where none was."""
    labels = list(dict.fromkeys(mean.label for mean in means if mean.seen in _TUNED_ON))
    if not labels:
        return []
    verb, whom = ("was", "it") if len(labels) == 1 else ("were", "them")
    return [f"But {_few(labels)} {verb} tuned on this split, which flatters {whom}."]


def _tuning(standings: Sequence[Standing], tuned: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield what the best methods were tuned on, and which method is best without: nothing where none has a mapper."""
    leaders = {mean.method: mean.label for standing in standings for mean in standing.leaders}
    mapped = {method: label for method, label in leaders.items() if method.variant not in (PRETRAINED, SCORES)}
    if not mapped:
        return
    splits = dict.fromkeys(split for method in mapped for split in tuned.get(method.variant, []))
    where = [f"with one seed on this benchmark's {listing(splits)}"] if splits else []
    where += [] if all(method.variant in tuned for method in mapped) else ["elsewhere"]
    who = "It was" if len(leaders) == 1 else f"{listing(mapped.values())} {'was' if len(mapped) == 1 else 'were'}"
    yield f"{who} tuned {listing(where)}."
    plain = [[mean for mean in standing.means if mean.method.variant == PRETRAINED] for standing in standings]
    values: dict[str, list[str]] = {}
    for standing, means in zip(standings, plain, strict=True):
        if means:
            first = max(means, key=lambda mean: mean.value)
            values.setdefault(first.label, []).append(f"{plain_number(first.value)} {_with(standing.prompt_type)}")
    if values:
        yield f"Without tuning: {'; '.join(f'{label} ({listing(of_label)})' for label, of_label in values.items())}."


def _use(standings: Sequence[Standing], leader: str) -> str:
    """Return which method to use: the leader, or one of those that no prompt type tells from it."""
    level = f"{100 * standings[0].confidence:.4g} %"
    equals = [[mean.label for mean in (*s.leaders, *s.with_outcome(Outcome.TIED))] for s in standings]
    tied = [label for label in equals[0] if label != leader and all(label in labels for labels in equals)]
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
    difference = difference_text(pair.value, pair.low, pair.high, "mAP")
    by = f"{difference} over its equal" if standing.is_best(following) else f"+{difference} over the next"
    parts = [
        f"{words} {_few([mean.label for mean in means])}"
        for outcome, words in _OUTCOMES.items()
        if (means := standing.with_outcome(outcome))
    ]
    rest = f" It is {'; '.join(parts)}." if parts else ""
    return f"With {standing.prompt_type} prompts, {standing.best.label} has {by}, {following.label}.{rest}"


# --- of a prompt type -------------------------------------------------------------------------------------------------


def _sentences(standing: Standing, others: Sequence[Standing], floor: float) -> list[str]:
    """Return what is said of a split's prompt type; `others` are its standings by other metrics, `floor` is the least p."""
    best, leaders, interval = standing.best, standing.leaders, interval_name(standing.confidence)
    labels = [mean.label for mean in leaders]
    it = "It" if len(leaders) == 1 else best.label
    value = plain_number(best.value)
    if best.low == best.low and len(leaders) == 1:
        value += f" ({interval} {plain_number(best.low)} to {plain_number(best.high)})"
    highest = f"{_highest(labels)} mAP," if len(standing.means) > 1 else f"{best.label} has mAP"
    sentences = [f"{highest} {value}; a random ranking has {plain_number(standing.chance)}."]
    if best.low == best.low and not any(standing.is_above_chance(mean) for mean in leaders):
        which = "it is not" if len(leaders) == 1 else "none of them is"
        sentences.append(f"So {which} shown to be better than chance.")
    sentences += (f"{it} {rest}" for part in (_ahead, _unadjusted, _tied, _unknown) if (rest := part(standing, floor)))
    if any(pair.p_holm == pair.p_holm for pair in standing.pairs):
        pairs = count(len(standing.pairs), "pair")
        sentences.append(f"(p is adjusted for {pairs}, by Holm's method; intervals are not.)")
    sentences += _flattered(leaders)
    disagreeing: dict[str, list[str]] = {}
    for other in others:
        if other.best.label != best.label and other.best.value > _value_of(other, best):
            disagreeing.setdefault(other.best.label, []).append(other.metric)
    for label, metrics in disagreeing.items():
        sentences.append(f"By {listing(metrics)}, {label} is highest instead.")
    return sentences


def _value_of(standing: Standing, mean: Mean) -> float:
    return next((other.value for other in standing.means if other.method == mean.method), float("-inf"))


def _leads(standing: Standing, outcome: Outcome, floor: float) -> str:
    """Return the methods of an outcome with the difference to each."""
    chosen = standing.with_outcome(outcome)
    texts = []
    for mean in chosen[:_NAMED]:
        pair = standing.lead(mean.method)
        p = f" ({p_text(pair.p_value, pair.p_holm, floor)})" if pair.p_holm == pair.p_holm else ""
        texts.append(f"{mean.label} by {difference_text(pair.value, pair.low, pair.high)}{p}")
    if len(chosen) > _NAMED:
        texts.append(f"{len(chosen) - _NAMED} more by as much or more")
    return listing(texts)


def _ahead(standing: Standing, floor: float) -> str:
    leads = _leads(standing, Outcome.AHEAD, floor)
    return f"is ahead of {leads}." if leads else ""


def _unadjusted(standing: Standing, floor: float) -> str:
    leads, chosen = _leads(standing, Outcome.UNADJUSTED, floor), standing.with_outcome(Outcome.UNADJUSTED)
    if not chosen:
        return ""
    which = "these intervals leave" if len(chosen) > 1 else "this interval leaves"
    return (
        f"is likely ahead of {leads}: {which} out 0, but of {len(standing.pairs)} pairs that are compared at once, one "
        "or the other may do so by chance."
    )


def _tied(standing: Standing, floor: float) -> str:
    leads, chosen = _leads(standing, Outcome.TIED, floor), standing.with_outcome(Outcome.TIED)
    which = "these intervals hold" if len(chosen) > 1 else "this interval holds"
    return f"cannot be told from the next: it leads {leads}, and {which} 0." if leads else ""


def _unknown(standing: Standing, floor: float) -> str:
    leads = _leads(standing, Outcome.UNKNOWN, floor)
    return f"leads {leads}; there are too few entries ({standing.n_entries}) for an interval." if leads else ""


def _few(labels: Sequence[str], named: int = _NAMED) -> str:
    """Return up to `named` labels, or so many and the number of the others."""
    rest = len(labels) - named
    return listing([*labels[:named], count(rest, "other")] if rest > 0 else labels)
