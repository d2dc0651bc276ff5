"""Say what the page says of every run in the same words: terms, marks, protocol."""

from collections.abc import Sequence

import numpy as np

from attribench.formats.ranking import Ranking
from attribench.plots.captions import count, interval_name, listing
from attribench.report import results
from attribench.tables.marks import CHANCE, MEANINGS, TIED
from attribench.tables.standings import Outcome, Standing
from attribench.tables.statistics import LEAST_ENTRIES

WORDS = (
    ("entry", "One tuned model: the exemplars that it was tuned on, and the images that it synthesized since."),
    ("exemplar", "An image that a model was tuned on. It is what the model's images are to be traced back to."),
    ("query", "One synthesized image, of which the exemplars are sought."),
    ("prompt type", "How a query's prompt was made."),
    ("split", "A set of entries that is evaluated together. Mappers are tuned on training and val splits."),
    ("database", "Other images, among which the exemplars of each query are ranked."),
    ("method", "A feature extractor with a variant (pretrained: its features as they are), or scores from elsewhere."),
    ("mapper", "A learned map of features: one for real images, one for synthesized ones."),
    (
        "head",
        "The form of a mapper. linear: a matrix and a bias; channel: a factor for each number; mlp: a small network.",
    ),
    ("mAP", "The mean average precision: 1 where all exemplars come before every database image."),
    ("recall@k", "The share of a query's exemplars that are among the first k images."),
)
_PROMPT_TYPES = {
    "object": "an object, in the style that the model was tuned on",
    "media": "what the model was tuned on, in another medium",
    "gpt": "written by a language model, mostly a scene",
}
_AS_IF = {"gpt": "a scene, as a language model would describe it"}  # where no prompt was written
RENDERED = (
    "This benchmark's images are drawn by a program: no text-to-image model was tuned, and no prompt was written by a "
    "language model. Its results test the tool, not methods: which is best here says little about real synthesized images."
)
INFLUENCE_WORDS = (
    (
        "influence",
        "The share of a query that a method gives to an image. A score s has the weight exp(inv_tau s), relative to the "
        "highest one, plus a constant, and at least 0; a weight over the sum of all, of the database and the query's "
        "exemplars, is influence. inv_tau and the constant are fitted on val splits.",
    ),
    (
        "gain, nats",
        "In the log-likelihood of the exemplars, over the same influence for all images (uniform), or over the same "
        "extractor's features as they are (pretrained). A gain of 1 nat makes them 2.7 times as likely.",
    ),
    ("effective number of images", "Over how many images the influence is spread: if all of these had the same share."),
    (
        "90 % set",
        "The fewest images that hold 90 % of a query's influence. Coverage is the share of all exemplars that are in it. It "
        "is 0.9 for a calibrated method, less for an overconfident and more for a too cautious one: its interval judges.",
    ),
    (
        "calibration error",
        "The share of the influence that is in the wrong bin of influence, from 0 to 1. Chance makes one in any case.",
    ),
)


def subtitle(standings: Sequence[Standing], n_methods: int, rendered: bool) -> str:
    """Return what was done, in a sentence or two for who has not heard of it."""
    splits = list(dict.fromkeys(standing.split for standing in standings))
    methods = count(n_methods, "method")
    task = (
        "A few images of a style or an object, the exemplars, stand for those that a text-to-image model was tuned on; more "
        "images of it stand for those that the model then made. Given one of these, "
        if rendered
        else "A text-to-image model was tuned on a few images, the exemplars. Given an image that it made, "
    )
    return f"{task}which method finds the exemplars among many other images? Here {methods} on {listing(splits)}."


def prompt_types(standings: Sequence[Standing], rendered: bool) -> str:
    """Return what the prompt types are, of those that the standings have and that are known."""
    meanings = _PROMPT_TYPES | (_AS_IF if rendered else {})
    found = [p for p in dict.fromkeys(standing.prompt_type for standing in standings) if p in meanings]
    return f"Prompts: {'; '.join(f'{name}: {meanings[name]}' for name in found)}." if found else ""


def how_sure(standings: Sequence[Standing], rankings: Sequence[Ranking], confidence: float) -> str:
    """Return from how many entries the answers come, and what their words mean, of those that they have.

    rankings: one of each split, whose queries are counted.
    """
    level = interval_name(confidence)
    by_map = [standing for standing in standings if standing.metric == "mAP"]
    ranking_of = {ranking.split: ranking for ranking in rankings}
    sizes = [_size(standing, ranking_of[standing.split]) for standing in by_map]
    text = f"{sizes[0]} for each split and prompt type" if len(set(sizes)) == 1 else ""
    text = text or "; ".join(f"{size} on {s.split}, {s.prompt_type}" for size, s in zip(sizes, by_map, strict=True))
    outcomes = {standing.outcome(mean) for standing in by_map for mean in standing.means}
    sentences = {
        Outcome.AHEAD: "Ahead: it leaves out 0, and p, adjusted for all pairs of methods, is at most "
        f"{1 - confidence:.2g}.",
        Outcome.UNADJUSTED: "Likely ahead: it leaves out 0, but the adjusted p is larger.",
        Outcome.TIED: "Not told apart: it holds 0.",
    }
    known = [sentence for outcome, sentence in sentences.items() if outcome in outcomes]
    if any(pair.low == pair.low for standing in by_map for pair in standing.pairs):
        brackets = f"In brackets: the {level} of the paired difference, not adjusted for the number of comparisons."
        known = [brackets, *known, "Differences are rounded after subtraction."]
    return " ".join([f"All methods have the same queries ({text}).", *known])


def _size(standing: Standing, ranking: Ranking) -> str:
    """Return `120 queries, 5 of each of 24 entries`, or how many in all where entries have different numbers."""
    chosen = ranking.query_valid & (ranking.query_prompt_type == standing.prompt_type)
    _, counts = np.unique(ranking.query_entry[chosen], return_counts=True)
    queries = count(standing.n_queries, "query", "queries")
    if len(counts) > 1 and len(set(counts)) == 1 and counts.sum() == standing.n_queries:
        return f"{queries}, {counts[0]} of each of {len(counts)} entries,"
    return f"{queries} in all, of {count(standing.n_entries, 'entry', 'entries')},"


def marks(standings: Sequence[Standing], confidence: float) -> str:
    """Return what the marks in the table of results mean: of those that it has."""
    cells = [cell for row in results.summary_rows(standings).rows for cell in row]
    found = "".join(cell.mark for cell in cells)
    has_interval = any(mean.low == mean.low for standing in standings for mean in standing.means)
    is_behind = any(standing.outcome(mean) is Outcome.AHEAD for standing in standings for mean in standing.means)
    sentences = {
        f"In brackets: {interval_name(confidence)}s of the mean.": has_interval,
        "Bold: the best of a split, prompt type and metric. The others are compared with it as in the answer.": any(
            cell.is_bold for cell in cells
        ),
    }
    for mark, meaning in MEANINGS.items():
        if mark == CHANCE:
            sentences["All others: behind the best."] = is_behind
        sentences[f"{'Underlined and ' if mark == TIED else ''}{mark}: {meaning}."] = mark in found
    return " ".join(sentence for sentence, is_there in sentences.items() if is_there)


def certainty(confidence: float) -> list[str]:
    """Return how intervals and p values are made, and what they leave out, a sentence or two each."""
    level = interval_name(confidence)
    return [
        "Only the spread between entries counts, since queries of one entry are alike. With fewer than "
        f"{LEAST_ENTRIES} entries there is no interval.",
        f"The {level} of a mean is Wilson's, at the number of entries that would tell as much of it, were each nothing but "
        "0 or 1. One more entry, which may be missed as a whole, takes part with a small weight: where no entry misses "
        "anything, it alone gives the width, so a perfect value may have a wider interval than one with a few misses.",
        f"The {level} of a paired difference is what a sign-flip test over entries does not reject. So it leaves out 0 just "
        f"where the test's own p is at most {1 - confidence:.2g}. The two means' own intervals may overlap all the same.",
        "No interval is adjusted for the number of comparisons. p values are, by Holm's method over all pairs of methods of "
        "a split, prompt type and metric: of many pairs, one or the other may differ by chance. "
        "\N{LESS-THAN OR EQUAL TO}: no random sign vector gave as large a difference, and the test has no smaller p.",
        "The best was chosen by the same queries, which flatters its lead a little.",
        "Images and mappers are taken as they are: what another seed of the synthesis or of the training would change is in "
        "no interval.",
    ]


def protocol(rankings: Sequence[Ranking], standings: Sequence[Standing]) -> list[str]:
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
            "recall@k cannot reach 1 where a query has more than k exemplars: on "
            f"{lowest.split}, {lowest.metric} is at most {lowest.ceiling:.3f}."
        )
    if invalid:
        sentences.append(
            f"Invalid and not averaged: {count(invalid, 'query', 'queries')} (tables/invalid_images.csv has them)."
        )
    return sentences
