"""What the page says of every run in the same words: terms, marks, protocol."""

from collections.abc import Sequence

from attribench.formats.ranking import Ranking
from attribench.plots.style import interval_name
from attribench.report import results
from attribench.report.answer import listing
from attribench.tables.standings import Standing
from attribench.tables.statistics import LEAST_ENTRIES

WORDS = (
    ("entry", "One tuned model: the exemplars that it was tuned on, and the images that it synthesized since."),
    ("exemplar", "An image that a model was tuned on. It is what the model's images are to be traced back to."),
    ("query", "One synthesized image, of which the exemplars are sought."),
    ("prompt type", "How the prompt of a query was made: written by a language model (gpt), an object, a medium."),
    ("split", "A set of entries that is evaluated together."),
    ("database", "Other images, among which the exemplars of each query are ranked."),
    ("method", "A feature extractor (with a variant, which maps its features), or scores from elsewhere."),
    ("mAP", "The mean average precision: 1 where all exemplars come before every database image."),
    ("recall@k", "The share of a query's exemplars that are among the first k images."),
)
CALIBRATION = (
    "Influence is the share of a query that a method gives to an image; it sums to 1 over database and "
    "exemplars. A gain in log-likelihood above 0 is better than uniform influence, or than pretrained "
    "features. A calibrated method has about the error that chance makes of it, and its 90 % sets hold 90 % "
    "of the exemplars."
)


def subtitle(standings: Sequence[Standing], n_methods: int) -> str:
    """Return what was done, in a sentence or two for who has not heard of it."""
    splits = list(dict.fromkeys(standing.split for standing in standings))
    methods = "1 method" if n_methods == 1 else f"{n_methods} methods"
    return (
        "A text-to-image model was tuned on a few images, the exemplars. Given an image that it made, which "
        f"feature finds them again among many others? Here {methods} on {listing(splits)}."
    )


def how_sure(standings: Sequence[Standing], confidence: float) -> str:
    """Return what makes an answer sure, and from how many entries it comes."""
    level = interval_name(confidence)
    by_map = [standing for standing in standings if standing.metric == "mAP"]
    counts = list(dict.fromkeys(f"{s.n_entries} tuned models and {s.n_queries} queries" for s in by_map))
    text = f"{counts[0]} for each split and prompt type" if len(counts) == 1 else ""
    text = text or "; ".join(
        f"{s.n_entries} models, {s.n_queries} queries on {s.split}, {s.prompt_type}" for s in by_map
    )
    return (
        f"Methods are compared on the same queries ({text}). The {level}s come from the spread between tuned "
        "models, since queries of one model are alike. A method is ahead of another where the interval of their "
        "difference leaves out 0, also after Holm's adjustment for all pairs; its lead is likely, not certain, "
        f"where it does so only before. With fewer than {LEAST_ENTRIES} models there is no interval."
    )


def marks(confidence: float) -> str:
    """Return what the marks in the table of results mean."""
    level = interval_name(confidence)
    return (
        f"In brackets: {level}s. Bold: the best of a split, prompt type and metric. Underlined and "
        f"{results.TIED}: cannot be told from the best, as the paired {level} holds 0. {results.UNADJUSTED}: "
        "likely behind the best, though not after Holm's adjustment for all pairs. No mark: behind the best. "
        f"{results.CHANCE}: not shown to be better than chance. {results.SEEN}: tuned on this split."
    )


def protocol(rankings: Sequence[Ranking], confidence: float, standings: Sequence[Standing]) -> list[str]:
    """Return how methods were evaluated, a sentence or two each; `rankings` has one of each split."""
    hard = any(ranking.hard_negatives for ranking in rankings)
    is_one = len({ranking.n_database for ranking in rankings}) == 1
    sizes = [f"{r.n_database:,} database images" + ("" if is_one else f" (on {r.split})") for r in rankings]
    invalid = sum(int((~ranking.query_valid).sum()) for ranking in rankings)
    ceilings = [s for s in standings if s.ceiling < 1]
    sentences = [
        f"Each query ranks {listing(dict.fromkeys(sizes))} and its own exemplars by score, "
        "the cosine of features (or what a score method says).",
        "The exemplars of a split's other entries are candidates too (hard negatives)."
        if hard
        else "The exemplars of other entries are not among the candidates.",
        "Ties count against the exemplar: a database image with the same score ranks above it. Ranks are exact.",
        "Average precision is over the whole ranking; recall@k divides by the number of exemplars. Both are "
        "averaged over queries.",
    ]
    if ceilings:
        lowest = min(ceilings, key=lambda standing: standing.ceiling)
        sentences.append(
            "recall@k cannot reach 1 where a query has more than k exemplars: the lowest ceiling is "
            f"{lowest.ceiling:.3f}, of {lowest.metric} on {lowest.split}."
        )
    sentences += [
        f"A {interval_name(confidence)} of a mean is Wilson's, at the effective number of entries; of a paired "
        "difference, it is what a sign-flip test over entries does not reject. Significance is adjusted by "
        "Holm's method over all pairs of methods of a split, prompt type and metric.",
    ]
    if invalid:
        sentences.append(
            f"{invalid} queries are invalid (tables/invalid_images.csv): they are counted, and not averaged."
        )
    return sentences
