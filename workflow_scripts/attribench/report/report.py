"""Gather what the page of a run says (`page` fills it in): the answer first, how it all was made last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from attribench.decode.reading import Reading
from attribench.formats.rank_file import read_rank_file
from attribench.formats.ranking import Method, Ranking
from attribench.formats.shards import open_feature_shard
from attribench.plots.captions import interval_name
from attribench.provenance.fingerprints import recorded_content
from attribench.report import costs, machine, results, settings
from attribench.report.answer import answers
from attribench.report.data import checked_overlap, exemplar_counts, near_duplicates_found
from attribench.report.pictures import Picture, figure_picture
from attribench.report.queries import equals, query_rows
from attribench.report.words import (
    INFLUENCE_WORDS,
    RENDERED,
    WORDS,
    certainty,
    how_sure,
    marks,
    prompt_types,
    protocol,
    subtitle,
)
from attribench.tables.standings import Standing

_EACH = 2  # so many of the best, and of the worst queries of each split and prompt type
# Figures that stand beside what they show; all others have a section of their own.
_OF_ANSWER, _OF_TUNING, _OF_INFLUENCE = ("differences",), ("variants", "learning_curves"), ("influence",)

Figures = Sequence[tuple[str, str, str]]  # split (empty: of the whole run), name, path without ending


@dataclass(frozen=True, kw_only=True)
class RunDescription:
    """Hold what a run was, from its settings.

    rendered: whether a program drew its images. methods: label and description. extractors: name, library, model, weights,
    preprocessing, precision, and a shard of theirs. tuned: the variants that the workflow tuned itself, with their training
    splits. collections: name, what it is, and where its given files are recorded. ranks: split, extractor, variant, path of
    the rank file. samples: of the sign-flip test. sheet: label of the method that contact sheets show.
    """

    benchmark: str
    rendered: bool
    confidence: float
    samples: int
    sheet: str
    labels: Mapping[Method, str]
    methods: Sequence[tuple[str, str]]
    extractors: Sequence[Sequence[str]]
    tuned: Mapping[str, Sequence[str]]
    collections: Sequence[tuple[str, str, str]]
    ranks: Sequence[tuple[str, str, str, str]]


@dataclass(frozen=True)
class QueryGroup:
    """Hold the best and worst queries of a split and prompt type by the method `label`, and how many are equal."""

    split: str
    prompt_type: str
    label: str
    equals: str
    rows: tuple


def results_context(
    run: RunDescription,
    standings: Sequence[Standing],
    influence: pd.DataFrame | None,
    published: pd.DataFrame,
    figures: Figures,
) -> dict[str, Any]:
    """Return what the page says of results: answers, tables, figures; by the template's names."""
    answered = {standing.split for standing in standings}
    pictures = {(split, name): figure_picture(stem, name) for split, name, stem in figures}
    of_tuning = [(split, p) for (split, name), p in pictures.items() if name in _OF_TUNING]
    elsewhere = (*_OF_TUNING, *_OF_INFLUENCE)
    of_split: dict[str, list[Picture]] = {}
    for (split, name), picture in pictures.items():
        if name not in elsewhere and not (name in _OF_ANSWER and split in answered):
            of_split.setdefault(split, []).append(picture)
    entries = {
        key: counts
        for split, name, stem in figures
        if name == "variants"
        for key, counts in results.entries_of(Path(f"{stem}.csv"), split).items()
    }
    gains = results.gains(standings, entries)
    is_tuned = gains is not None or bool(of_tuning)
    curves = [Path(f"{stem}.csv") for _, name, stem in figures if name == "learning_curves"]
    return {
        "title": f"Data attribution on benchmark {run.benchmark}",
        "subtitle": subtitle(standings, len(run.labels), run.rendered),
        "warning": RENDERED if run.rendered else "",
        "sections": _sections(is_tuned, influence is not None),
        "answers": answers(standings, run.tuned, run.samples),
        "answer_figures": {split: p for (split, name), p in pictures.items() if name in _OF_ANSWER},
        "prompt_types": prompt_types(standings, run.rendered),
        "contact": run.sheet if any(name == "contact" for _, name, _ in figures) else "",
        "certainty": certainty(run.confidence),
        "words": WORDS,
        "marks": marks(standings, run.confidence),
        "interval": interval_name(run.confidence),
        "summary": results.summary_rows(standings),
        "published": results.published_rows(published, run.labels),
        "figures": list(of_split.items()),
        "is_tuned": is_tuned,
        "gains": gains,
        "tuning_figures": of_tuning,
        "chosen": [sentence for path in curves for sentence in results.chosen_mappers(path, run.labels)],
        "influence": results.influence_rows(influence) if influence is not None else None,
        "calibration": results.calibration_rows(influence) if influence is not None else None,
        "calibrated": results.calibration_sentences(influence) if influence is not None else [],
        "influence_words": INFLUENCE_WORDS,
        "influence_figures": [(split, p) for (split, name), p in pictures.items() if name in _OF_INFLUENCE],
    }


def _sections(is_tuned: bool, has_influence: bool) -> list[tuple[str, str]]:
    sections = [
        ("answer", "Answer"),
        ("results", "All results"),
        ("figures", "Figures"),
        ("queries", "Best and worst queries"),
    ]
    sections += [("tuning", "Tuning")] * is_tuned + [("calibration", "Calibration")] * has_influence
    return [*sections, ("protocol", "What was evaluated, and how"), ("provenance", "Provenance")]


def queries_context(
    run: RunDescription, standings: Sequence[Standing], root: Path, reading: Reading, near_duplicates: pd.DataFrame
) -> dict[str, Any]:
    """Return the best and worst queries by the best method of each split and prompt type, and how images were ranked."""
    path_of = {(split, extractor, variant): path for split, extractor, variant, path in run.ranks}
    groups, rankings = [], {}
    for standing in (standing for standing in standings if standing.metric == "mAP"):
        key = (standing.split, *standing.best.method)
        if key not in rankings:
            rankings[key] = read_rank_file(path_of[key])
        rows = query_rows(rankings[key], standing.prompt_type, root, reading, _EACH)
        tied = equals(rankings[key], standing.prompt_type)
        groups.append(QueryGroup(standing.split, standing.prompt_type, standing.best.label, tied, tuple(rows)))
    of_splits = _first_of_splits(rankings)
    return {
        "queries": groups,
        "how_sure": how_sure(standings, of_splits, run.confidence),
        "protocol": protocol(of_splits, standings),
        "data_facts": [
            *exemplar_counts(of_splits),
            *checked_overlap(standings, run.tuned),
            near_duplicates_found(near_duplicates),
        ],
    }


def _first_of_splits(rankings: Mapping[tuple[str, str, str], Ranking]) -> list[Ranking]:
    return list({split: ranking for (split, _, _), ranking in reversed(rankings.items())}.values())[::-1]


@dataclass(frozen=True)
class Collection:
    """Hold a collection's name, what it is, the number of its images, and its given files with their digest."""

    name: str
    what: str
    images: str
    files: str
    digest: str


def provenance_context(
    run: RunDescription, key: str, config: Mapping[str, Any], defaults: Mapping[str, Any], repository: Path
) -> dict[str, Any]:
    """Return how the results were made: methods, data, settings, versions, machine, time and disk.

    Nothing of this belongs to the page's key, but for methods and names of collections: it is read as the job finds it.
    """
    folder = Path(config["results"])
    beside = [Path(config["features"])] if Path(config["features"]).parent != folder else []
    facts = {"Commit": machine.commit_of(repository), "Key of these results": key}
    facts["Digest of the settings"] = settings.settings_digest(config)
    stages, folders = costs.stage_costs(folder / "benchmarks"), costs.folder_sizes(folder, *beside)
    return {
        "methods": list(run.methods),
        "extractors": [(*facts, _dimension(shard)) for *facts, shard in run.extractors],
        "collections": [_collection(*collection) for collection in run.collections],
        "provenance": [*(facts | machine.machine()).items()],
        "changed": settings.changed_settings(config, defaults),
        "config": settings.settings_text(config),
        "versions": machine.versions(),
        "costs": [*stages, costs.total_cost(stages)],
        "tables": f"{config['results']}/tables",
        "sizes": [*folders, costs.total_size(folders)],
    }


def _dimension(shard: str) -> str:
    """Return the length of the feature vectors in a shard, which may have been removed since."""
    if not Path(shard).exists():
        return "unknown"
    with open_feature_shard(shard) as reader:
        return f"{reader.identity.dimension:,}"


def _collection(name: str, what: str, record: str) -> Collection:
    content = recorded_content(record)
    if content is None:
        return Collection(name, what, "unknown", "no record", "")
    images = "unknown" if content.images is None else f"{content.images:,}"
    return Collection(name, what, images, f"{content.files:,}", content.digest)
