"""The configuration: every key with its type and range, closed at every level.

`config.yaml` holds the defaults and explains each key; the models here say what a key may be. A test keeps the two in
step. `load` turns what Snakemake read into a `Config` or into one `InputError` that names key, value and what is valid.
"""

import types
import typing
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, PrivateAttr, ValidationError, model_validator

from attribench.download.table import DownloadSettings, Source
from attribench.errors import InputError
from attribench.registry import Closed, ExtractorEntry, Name, Positive, PrecisionName
from attribench.suggest import nearest

Folder = Annotated[str, Field(pattern=r"^[^{}]+$")]  # braces would be taken for wildcards
PathPattern = Annotated[str, Field(min_length=1)]
CutOff = Annotated[int, Field(ge=1, le=10**12)]
PRETRAINED, SCORES = "pretrained", "scores"  # variants that are no mapper: features as they are; a method's own scores
Partition = Literal["test", "train", "val"]


def _as_list(value: Any) -> Any:
    """Let a single name stand for a list of one: `--config extractors=color`."""
    return [value] if isinstance(value, (str, int)) and not isinstance(value, bool) else value


AnyNames = Annotated[list[Name], BeforeValidator(_as_list)]
Names = Annotated[AnyNames, Field(min_length=1)]


class Database(Closed):
    """Where a benchmark's database lies: a folder of images, or a text file with one image path a line."""

    folder: str | None = None
    list: str | None = None
    features: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "Database":
        if self.folder and self.list:
            raise ValueError("give `folder` or `list`, not both")
        if not (self.folder or self.list or self.features):
            raise ValueError("give `folder`, `list` or `features`")
        return self


class BenchmarkEntry(Closed):
    """A benchmark: split files by split name, the database, and what is chosen where the user chooses nothing."""

    splits: Annotated[dict[Name, str], Field(min_length=1)]
    default_splits: Names | None = None
    split_folders: tuple[str, ...] = ()
    database: Database
    split_features: str | None = None
    extractors: Names
    database_shards: Positive = 1
    rendered: bool = False


class VariantEntry(Closed):
    """A mapper: the checkpoint's path below the root, with {extractor} in it where each extractor has its own."""

    mapper: PathPattern


class Bootstrap(Closed):
    samples: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]


class ContactSheet(Closed):
    queries: Positive
    neighbours: Positive


class Sample(Closed):
    seed: Annotated[int, Field(ge=0)]
    image_size: Annotated[int, Field(ge=32)]
    style_entries: dict[Partition, Positive]
    object_entries: dict[Partition, Positive]
    max_exemplars: Positive
    queries_per_prompt: Positive
    database_images: Positive


class Config(Closed):
    """The whole configuration, checked. `root`, `splits`, `extractors` and `database_shards` are resolved: never None.

    `extractors` and `extractor_registry` have those that `compare_precisions` adds, each after the one it is compared with.
    """

    benchmark: Name
    root: Folder | None
    results: Folder
    splits: Names | None
    extractors: AnyNames | None
    variants: Names
    missing_variants: Literal["error", "skip"]
    score_methods: AnyNames
    recall_ks: Annotated[list[CutOff], BeforeValidator(_as_list), Field(min_length=1)]
    database_source: Literal["images", "features"]
    split_source: Literal["images", "features"]
    database_shards: Positive | None
    split_shards: Positive
    database_limit: Positive | None
    database_sizes: Annotated[list[Positive], BeforeValidator(_as_list)]
    hard_negatives: bool
    near_duplicates: Annotated[float, Field(ge=-1, le=1)] | None
    invalid_images: Literal["fail", "quarantine"]
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: PrecisionName
    compare_precisions: Annotated[list[PrecisionName], BeforeValidator(_as_list)]
    batch_size: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"]
    compile: bool
    top_k: Positive
    bootstrap: Bootstrap
    contact_sheet: ContactSheet
    published_numbers: Annotated[str, Field(min_length=1)] | None
    sample: Sample
    download: DownloadSettings
    sources: dict[Name, Source]
    benchmarks: dict[Name, BenchmarkEntry]
    extractor_registry: dict[Name, ExtractorEntry]
    variant_registry: dict[Name, VariantEntry]
    score_registry: dict[Name, PathPattern]
    _compared: dict[str, str] = PrivateAttr({})  # by each added extractor's name, the one it is compared with

    @property
    def entry(self) -> BenchmarkEntry:
        """The chosen benchmark's entry."""
        return self.benchmarks[self.benchmark]

    @property
    def variant_names(self) -> list[str]:
        """The variants that may be chosen."""
        return [PRETRAINED, *self.variant_registry]

    @property
    def compared(self) -> list[tuple[str, str, str, str]]:
        """Of each extractor that `compare_precisions` adds: its name, whose it is, its precision, and that one's."""
        return [(name, e, self.precision_of(name), self.precision_of(e)) for name, e in self._compared.items()]

    def compared_with(self, extractor: str) -> str:
        """The extractor that an added one is compared with, whose mappers are its own; any other itself."""
        return self._compared.get(extractor, extractor)

    def precision_of(self, extractor: str) -> PrecisionName:
        """The precision that the extractor computes in."""
        entry = self.extractor_registry[extractor]
        return "float32" if entry.library == "color" else entry.precision or self.precision

    def is_compiled(self, extractor: str) -> bool:
        """Whether torch compiles the extractor's network."""
        return self.compile and self.extractor_registry[extractor].library in ("timm", "open_clip")


def load(raw: dict[str, Any]) -> Config:
    """Check `raw` (what Snakemake read from files and `--config`) and resolve what depends on the benchmark.

    Raises InputError with one line for each key that is unknown or has a wrong value.
    """
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        problems = "\n".join(dict.fromkeys(f"  {_explain(problem)}" for problem in _deepest(error.errors())))
        raise InputError(f"config is not valid:\n{problems}") from error
    _known("benchmark", [config.benchmark], config.benchmarks)
    entry = config.entry
    config = config.model_copy(
        update={
            "root": (config.root or f"resources/{config.benchmark}").rstrip("/") or "/",
            "results": config.results.rstrip("/") or "/",
            "splits": config.splits or entry.default_splits or list(entry.splits),
            "extractors": entry.extractors if config.extractors is None else config.extractors,
            "database_shards": config.database_shards or entry.database_shards,
            "recall_ks": sorted(config.recall_ks),
            "database_sizes": sorted(config.database_sizes),
        }
    )
    _check_choices(config)
    for name, source in config.sources.items():
        _known(f"sources.{name}.benchmark", [source.benchmark], config.benchmarks)
    return _with_compared(config)


def _check_choices(config: Config) -> None:
    if config.contact_sheet.neighbours > config.top_k:
        raise InputError(
            f"config key contact_sheet.neighbours is {config.contact_sheet.neighbours}; expected at most top_k, which is "
            f"{config.top_k}: no more neighbours are kept"
        )
    _known("splits", config.splits, config.entry.splits)
    _known("extractors", config.extractors, config.extractor_registry)
    _known("variants", config.variants, config.variant_names)
    _known("score_methods", config.score_methods, config.score_registry)
    _check_methods(config)
    methods, numbers = ("extractors", "variants", "score_methods"), ("recall_ks", "database_sizes")
    for key in ("splits", *methods, *numbers, "compare_precisions"):
        values = getattr(config, key)
        repeated = sorted({str(v) for v in values if values.count(v) > 1})
        if repeated:
            raise InputError(f"config key {key}: {', '.join(repeated)} is listed more than once; list each once")
    for key, value in (("database", config.entry.database.features), ("split", config.entry.split_features)):
        if getattr(config, f"{key}_source") == "features" and config.extractors and not value:
            where = "database.features" if key == "database" else "split_features"
            raise InputError(
                f"config key {key}_source is `features`, but benchmarks.{config.benchmark}.{where} is not given; "
                "expected the path of a feature file below the root, with {extractor} (and {split}) in it"
            )
    if config.database_source == "images" and not (config.entry.database.folder or config.entry.database.list):
        raise InputError(
            f"config key database_source is `images`, but benchmarks.{config.benchmark}.database has neither `folder` "
            "nor `list`; give one, or set database_source: features"
        )


def _check_methods(config: Config) -> None:
    if not config.extractors and not config.score_methods:
        raise InputError("config key extractors is empty; expected at least one extractor, or one of score_methods")
    for name in sorted({PRETRAINED, SCORES} & {*config.variant_registry}):
        raise InputError(f"config key variant_registry.{name}: the name is taken; call the variant otherwise")
    for name in sorted({*config.extractors} & {*config.score_methods}):
        raise InputError(f"config key score_methods: {name!r} is an extractor too; call one of them otherwise")
    limit, sizes = config.database_limit, config.database_sizes
    if limit and sizes and sizes[-1] > limit:
        raise InputError(
            f"config key database_sizes has {sizes[-1]}; expected at most database_limit, which is {limit}"
        )
    for key, source in (("database", config.database_source), ("split", config.split_source)):
        if source == "images" and not config.extractors:
            raise InputError(
                f"config key {key}_source is `images`, but there is no extractor to run on them; expected `features`"
            )


def _with_compared(config: Config) -> Config:
    """`config` with EXTRACTOR_PRECISION after each network, for each of `compare_precisions` that is not its own."""
    wanted, listed = config.compare_precisions, ", ".join(config.compare_precisions)
    for key in ("database_source", "split_source"):
        if wanted and getattr(config, key) == "features":
            raise InputError(
                f"config key compare_precisions is [{listed}], but {key} is `features`, which are as they were extracted; "
                f"expected {key}: images, or compare_precisions: []"
            )
    extractors, registry, compared = [], dict(config.extractor_registry), {}
    for extractor in config.extractors:
        entry = registry[extractor]
        extractors.append(extractor)
        for precision in wanted if entry.library != "color" else ():
            name = f"{extractor}_{precision}"
            if precision == config.precision_of(extractor):
                continue
            if name in registry or name in config.score_registry:
                raise InputError(
                    f"config key compare_precisions: {extractor} in {precision} would be called {name}, which is the name "
                    f"of another method; expected no such name in extractor_registry and score_registry"
                )
            registry[name], compared[name] = entry.model_copy(update={"precision": precision}), extractor
            extractors.append(name)
    for precision in wanted:
        if precision not in {registry[name].precision for name in compared}:
            raise InputError(
                f"config key compare_precisions: no extractor is left to run in {precision}; expected a network among "
                f"extractors ({', '.join(config.extractors)}) with another precision of its own"
            )
    config = config.model_copy(update={"extractors": extractors, "extractor_registry": registry})
    config._compared = compared
    return config


def _known(key: str, values: list, choices: typing.Iterable[str]) -> None:
    choices = list(choices)
    for value in values:
        if value not in choices:
            valid = ", ".join(map(str, choices))
            raise InputError(f"config key {key}: unknown value `{value}`{nearest(value, choices)} Valid: {valid}")


def _deepest(problems: list) -> list:
    """Without what only says that a mapping is not a string: such a key takes either, and the mapping has faults."""
    is_echo = [p["type"] == "string_type" and isinstance(p["input"], dict) for p in problems]
    return [p for p, echo in zip(problems, is_echo, strict=True) if not echo] or problems


def _explain(problem: dict[str, Any]) -> str:
    """One line for one of pydantic's problems: the key's full name, what was found, what is valid."""
    location = [str(part) for part in problem["loc"]]
    key = ".".join(
        part for part in location if not part.startswith(("WeightsFile", "constrained-str", "function-", "[key]"))
    )
    found = problem["input"]
    if problem["type"] == "extra_forbidden":
        valid = _fields_at(Config, problem["loc"][:-1])
        return f"unknown key `{key}`{nearest(location[-1], valid)} Valid here: {', '.join(valid)}"
    if problem["type"] == "missing":
        return f"key `{key}` is missing"
    if problem["type"] == "literal_error":
        choices = problem["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        return f"key `{key}`: unknown value `{found}`{nearest(found, choices)} Valid: {', '.join(choices)}"
    return f"key `{key}`: found {found!r}; {problem['msg']}"


def _fields_at(model: Any, location: tuple) -> list[str]:
    """The valid keys at `location`, following the models' annotations through lists, dicts and unions."""
    candidates = [model]
    for part in location:
        following = []
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                field = candidate.model_fields.get(str(part))
                following += _models_in(field.annotation) if field else []
            if candidate is not model and str(part) not in getattr(candidate, "model_fields", {}):
                following.append(candidate)  # a dict's own key, or a union's tag: the same model is still meant
        candidates = following
    return sorted({name for candidate in candidates for name in candidate.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for argument in typing.get_args(annotation) for model in _models_in(argument)]
