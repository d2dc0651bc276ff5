"""The settings: every key of the configuration with its type and range, closed at every level.

The shipped files hold the defaults and explain each key: `config.yaml`, and the registries beside it. `Settings` says what a
key may be; a test keeps both in step.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from attribench.common.schema import Closed, FilePath, Label, Name, Positive, expanded, number, whole
from attribench.decode.reading import Exif
from attribench.download.table import DownloadSettings, Source
from attribench.extract.registry import ExtractorEntry, PrecisionName
from attribench.formats.ranking import PRETRAINED
from attribench.tune.settings import Training

MAX_SHARDS = 1000


def _one_or_more(item: Any, **limits: Any) -> Any:
    """Return the type of a list of `item`, for which text may stand: `--config extractors=color,untrained`."""

    def as_list(value: Any) -> Any:
        if isinstance(value, str):
            return [part for text in value.split(",") if (part := text.strip())]
        return [value] if isinstance(value, int) and not isinstance(value, bool) else value

    items = Annotated[list[item], Field(**limits)]
    return Annotated[items, BeforeValidator(as_list, json_schema_input_type=items | item)]


def _refuse_many_shards(number: int) -> int:
    if number > MAX_SHARDS:
        raise ValueError(
            f"expected at most {MAX_SHARDS}: every shard is a job of each stage, and Snakemake's time grows with them; make "
            "shards of more images instead"
        )
    return number


# Braces would be taken for wildcards.
Folder = Annotated[
    str, Field(pattern=r"^[^{}\x00-\x1f]+$", description="a path without braces"), AfterValidator(expanded)
]
Shards = Annotated[Positive, AfterValidator(_refuse_many_shards), Field(json_schema_extra={"maximum": MAX_SHARDS})]
Partition = Literal["test", "train", "val"]
AnyNames = _one_or_more(Name)
Names = _one_or_more(Name, min_length=1)


class Database(Closed):
    """Say where a benchmark's database lies: in a folder of images, a list of paths, or a feature file."""

    folder: FilePath | None = None
    list: FilePath | None = None
    features: FilePath | None = None

    @model_validator(mode="before")
    @classmethod
    def _says_of_what_kind(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(f"expected {{folder: {value}}}, or the keys list or features for a file")
        return value

    @model_validator(mode="after")
    def _is_given(self) -> "Database":
        if self.folder and self.list:
            raise ValueError("give `folder` or `list`, not both")
        if not (self.folder or self.list or self.features):
            raise ValueError("give `folder`, `list` or `features`")
        return self


class TuningSplits(Closed):
    """Name splits for tuning: those that mappers are trained on, and those that choose among steps and penalties."""

    train: Names
    val: Names


class BenchmarkEntry(Closed):
    """Describe a benchmark: split files by split name, the database, and what is chosen where the user chooses nothing.

    default_influence: whether influence is computed. tuning: groups of splits for tuning, by name (`style`, `object`).
    tuned_extractors: those for which variants are tuned (None: all that are chosen).
    """

    splits: Annotated[dict[Name, FilePath], Field(min_length=1)]
    default_splits: Names | None = None
    default_variants: Names = Field(default_factory=lambda: [PRETRAINED])
    default_influence: bool = False
    tuning: dict[Name, TuningSplits] = Field(default_factory=dict)
    tuned_extractors: Names | None = None
    split_folders: tuple[FilePath, ...] = ()
    database: Database
    split_features: FilePath | None = None
    extractors: AnyNames = Field(default_factory=list)
    database_shards: Shards = 1
    rendered: bool = False


class VariantEntry(Closed):
    """Name a mapper's checkpoint: its path below the root, with {extractor} in it where each extractor has its own.

    calibrator: the path of the calibrator that goes with it (None: influence is calibrated by the workflow). label: the
    variant's name in tables and figures.
    """

    mapper: FilePath
    calibrator: FilePath | None = None
    label: Label | None = None


class ScoreEntry(Closed):
    """Name a method's file of scores: its path below the root, with {split} in it where each split has its own.

    label: the method's name in tables and figures.
    """

    scores: FilePath
    label: Label | None = None


def _as_score_entry(value: Any) -> Any:
    return {"scores": value} if isinstance(value, str) else value


# A path may stand for an entry without a label.
PathOrScoreEntry = Annotated[ScoreEntry, BeforeValidator(_as_score_entry, json_schema_input_type=FilePath | ScoreEntry)]


class TuneEntry(Training):
    """Describe mappers to be tuned: on what, for which extractors, and how.

    train: training splits, or groups of the benchmark's `tuning` (None: all of them). val: the same (None: those of the
    groups that `train` names, else all). extractors: whose features (None: as the benchmark's entry says). label: as a
    variant's.
    """

    train: Names | None = None
    val: Names | None = None
    extractors: Names | None = None
    label: Label | None = None

    @model_validator(mode="after")
    def _has_use_for_what_is_given(self) -> "TuneEntry":
        self.refuse_keys_without_use()
        return self


class Bootstrap(Closed):
    """Set the confidence of intervals, and the number and seed of the sign-flip test's random sign vectors."""

    samples: whole(ge=100, le=10**7)
    confidence: number(gt=0, lt=1)
    seed: whole(ge=0, le=10**12)


class Plots(Closed):
    """Say how figures look.

    width: inches, at which they are printed. title: whether a figure has its title. order: of methods, as the config names
    them, or by mAP. labels: what extractors, variants, score methods and methods (by their names) are called, before the
    `label` of their entries.
    """

    width: number(ge=3.25, le=20)
    title: bool
    order: Literal["config", "value"]
    labels: dict[Name, Label]


class ContactSheet(Closed):
    """Say what contact sheets show: how many queries and neighbours, of which method, and which queries.

    method: by its name, EXTRACTOR_VARIANT (None: the first). choose: how queries are chosen, or a list of their paths.
    """

    queries: Positive
    neighbours: Positive
    method: Name | None
    choose: Literal["spread", "best", "worst"] | Annotated[list[FilePath], Field(min_length=1)]


class Gallery(Closed):
    """Set the size of the gallery: queries of a split (None: all), positions of each ranking, pixels of a thumbnail."""

    queries: Positive | None
    neighbours: Positive
    thumbnail: whole(ge=32, le=512)


class Sample(Closed):
    """Say how the sample benchmark is drawn."""

    seed: whole(ge=0, le=10**12)
    image_size: whole(ge=32)
    style_entries: dict[Partition, Positive]
    object_entries: dict[Partition, Positive]
    max_exemplars: Positive
    queries_per_prompt: Positive
    database_images: Positive


class Settings(Closed):
    """Hold everything that a user may choose, by key; config.yaml says what None (null) means for each key."""

    benchmark: Name
    root: Folder | None
    results: Folder
    features: Folder | None
    splits: Names | None
    extractors: AnyNames | None
    variants: Names | None
    missing_variants: Literal["error", "skip"]
    score_methods: AnyNames
    recall_ks: _one_or_more(Positive, min_length=1)
    database_source: Literal["images", "features"]
    split_source: Literal["images", "features"]
    database_shards: Shards | None
    split_shards: Shards
    database_limit: Positive | None
    database_sizes: _one_or_more(Positive)
    hard_negatives: bool
    near_duplicates: number(ge=0, le=1) | None
    invalid_images: Literal["fail", "quarantine"]
    max_pixels: Positive
    exif: Exif
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: PrecisionName
    compare_precisions: _one_or_more(PrecisionName)
    batch_size: whole(ge=1, le=4096) | Literal["auto"]
    compile: bool
    top_k: Positive
    influence: bool | None
    calibration_splits: Names | None
    bootstrap: Bootstrap
    plots: Plots
    contact_sheet: ContactSheet
    gallery: Gallery
    published_numbers: FilePath | None
    sample: Sample
    download: Literal["never"] | DownloadSettings
    sources: dict[Name, Source]
    benchmarks: dict[Name, BenchmarkEntry]
    extractor_registry: dict[Name, ExtractorEntry]
    variant_registry: dict[Name, VariantEntry]
    tune: dict[Name, TuneEntry]
    score_registry: dict[Name, PathOrScoreEntry]


class Config(Settings):
    """Hold the settings of a run, checked, with what its benchmark's entry decides filled in.

    `extractors` and `extractor_registry` have those that `compare_precisions` adds, each after the one it is compared with.
    compared_extractors: by the name of each added extractor, the one it is compared with.
    """

    root: Folder
    features: Folder
    splits: Names
    extractors: AnyNames
    variants: Names
    influence: bool
    database_shards: Shards
    compared_extractors: dict[Name, Name]

    @property
    def entry(self) -> BenchmarkEntry:
        """Return the chosen benchmark's entry."""
        return self.benchmarks[self.benchmark]

    @property
    def variant_names(self) -> list[str]:
        """Return the variants that may be chosen."""
        return [PRETRAINED, *self.variant_registry, *self.tune]

    @property
    def variant_labels(self) -> dict[str, str]:
        """Return what tables and figures call variants, where it is not their name."""
        return {name: entry.label for name, entry in (self.variant_registry | self.tune).items() if entry.label}

    def tuning_splits(self, variant: str) -> tuple[list[str], list[str]]:
        """Return the training and the val splits of a variant that is tuned."""
        groups, entry = self.entry.tuning, self.tune[variant]
        train = entry.train or list(groups)
        val = entry.val or [name for name in train if name in groups] or list(groups)
        return self._in_groups(train, "train"), self._in_groups(val, "val")

    def calibrating_splits(self, variant: str) -> list[str]:
        """Return the splits that a variant's influence is calibrated on; none where its calibrator is given."""
        if not self.influence or (variant in self.variant_registry and self.variant_registry[variant].calibrator):
            return []
        if self.calibration_splits is None and variant in self.tune:
            return self.tuning_splits(variant)[1]
        return self._in_groups(self.calibration_splits or list(self.entry.tuning), "val")

    def _in_groups(self, names: list[str], part: Literal["train", "val"]) -> list[str]:
        """Return the splits that `names` stand for: of a group of the benchmark's `tuning`, one part of its splits."""
        groups = self.entry.tuning
        of_name = [getattr(groups[name], part) if name in groups else [name] for name in names]
        return list(dict.fromkeys(split for found in of_name for split in found))

    def training(self, variant: str) -> dict[str, Any]:
        """Return how the mappers of a variant that is tuned are trained, as `tune.settings.Training` takes it."""
        return self.tune[variant].model_dump(include={*Training.model_fields})

    def has_variant(self, extractor: str, variant: str) -> bool:
        """Return whether the extractor is to have the variant: one that is tuned may name its extractors."""
        if variant not in self.tune:
            return True
        extractors = self.tune[variant].extractors or self.entry.tuned_extractors
        return extractors is None or self.compared_with(extractor) in extractors

    @property
    def networks(self) -> dict[str, ExtractorEntry]:
        """Return the entries of the extractors that run on images, of the database or of splits."""
        names = [name for name in self.extractors if self.takes_images(name, True) or self.takes_images(name, False)]
        return {name: self.extractor_registry[name] for name in names}

    @property
    def compared(self) -> list[tuple[str, str, str, str]]:
        """Return for each added extractor its name, the one it is compared with, and the precisions of both."""
        pairs = self.compared_extractors.items()
        return [(name, other, self.precision_of(name), self.precision_of(other)) for name, other in pairs]

    def compared_with(self, extractor: str) -> str:
        """Return the extractor that an added one is compared with, and whose mappers it uses; any other itself."""
        return self.compared_extractors.get(extractor, extractor)

    def precision_of(self, extractor: str) -> PrecisionName:
        """Return the precision that the extractor computes in."""
        entry = self.extractor_registry[extractor]
        return "float32" if entry.library == "color" else entry.precision or self.precision

    def feature_pattern(self, extractor: str, is_database: bool) -> str | None:
        """Return the pattern of the existing feature files of the database, or of splits; None if images are taken."""
        entry, benchmark = self.extractor_registry[extractor], self.entry
        given = benchmark.database.features if is_database else benchmark.split_features
        source = self.database_source if is_database else self.split_source
        if pattern := entry.features_of(is_database):
            return pattern
        return given if source == "features" or entry.library is None else None

    def takes_images(self, extractor: str, is_database: bool) -> bool:
        """Return whether the extractor runs on the images of the database, or of splits."""
        source = self.database_source if is_database else self.split_source
        entry = self.extractor_registry[extractor]
        return source == "images" and entry.library is not None and not entry.features_of(is_database)

    def is_compiled(self, extractor: str) -> bool:
        """Return whether torch compiles the extractor's network."""
        return self.compile and self.extractor_registry[extractor].library in ("timm", "open_clip", "python")
