"""The jobs of the tiny run, and which of them a change makes run again."""

from collections import Counter

# Jobs of the whole tiny run: two splits, a database, one shard each, two extractors that share their pixels.
WHOLE = Counter(
    sample=1,
    manifest=3,
    decode=3,
    extract=6,
    rank=4,
    metrics=4,
    tables=1,
    plots=2,
    contact=2,
    gallery_split=2,
    gallery=1,
    paper_tables=1,
    report=1,
)
NOTHING = Counter()
RESULTS = ["tables", "paper_tables", "plots", "contact", "gallery_split", "gallery", "report"]
FROM_RANK = ["rank", "metrics", *RESULTS]
FROM_DECODE = ["decode", "extract", *FROM_RANK]  # pixels are temporary: who extracts decodes
DOWNSTREAM = {
    "sample": list(WHOLE),
    "manifest": ["manifest", *FROM_DECODE],
    "decode": FROM_DECODE,
    "extract": FROM_DECODE,
    "rank": FROM_RANK,
    "gallery_split": ["gallery_split", "gallery"],
    "gallery": ["gallery"],
    "metrics": ["metrics", "tables", "paper_tables", "plots", "report"],
    "tables": ["tables", "paper_tables", "plots", "report"],
    "paper_tables": ["paper_tables"],
    "plots": ["plots", "report"],
    "contact": ["contact", "report"],
    "report": ["report"],
}


def jobs(*rules: str, **other: int) -> Counter:
    """Return the whole run's jobs of `rules`, and those of `other` in the counts given."""
    return Counter({**{rule: WHOLE[rule] for rule in rules}, **other})


def jobs_from(*stages: str) -> Counter:
    """Return the whole run's jobs of `stages` and of all that depend on them."""
    return jobs(*{rule for stage in stages for rule in DOWNSTREAM[stage]})
