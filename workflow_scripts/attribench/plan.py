"""The plan of a run: which collections, shards and methods there are, where each file lies, and each job's key.

The rules ask the plan and hold no logic of their own. Everything here follows from the config and from what `sources`
says of the given files; nothing is discovered while the workflow runs.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from attribench import sources
from attribench.config import Config
from attribench.download.choice import Downloads
from attribench.download.space import Budget
from attribench.errors import InputError
from attribench.extractors import preprocessing_of, weights_file
from attribench.files import sha256_file
from attribench.identity import code_digest, digest, recorded_key
from attribench.manifest import collect
from attribench.registry import WeightsFile
from attribench.sample import MARKER, SPLIT_FILES

# Below the results folder, by kind; `{…}` are the rules' wildcards.
FILES = {
    "manifest": "manifests/{collection}.csv",
    "sources": "manifests/.sources/{collection}.csv",
    "pixels": "pixels/{collection}/{preprocessing}/{shard}.h5",
    "features": "features/{collection}/{extractor}/{shard}.h5",
    "feature_source": "features/{collection}/{extractor}/.source.csv",
    "ranks": "ranks/{split}/{extractor}_{variant}.h5",
    "metrics": "metrics/{split}/{extractor}_{variant}.csv",
    "split_table": "tables/{split}.csv",
    "table": "tables/{table}.csv",
    "plot": "plots/{split}_{figure}",
}
# The kinds of file that a job of each rule makes, where these are all it makes.
PRODUCTS = {
    "manifest": ("manifest",),
    "extract": ("features",),
    "feature_source": ("feature_source",),
    "import_features": ("features",),
    "rank": ("ranks",),
    "metrics": ("metrics",),
}
TABLES = ("summary", "comparisons", "breakdown", "invalid_images")
# The figures of a split, by the rule that draws them.
FIGURES = {"plots": ("metrics", "recall", "ranks"), "contact": ("contact", "comparison")}
FIGURE_ENDINGS = (".png", ".svg", ".csv")
# What the sample stage makes anew below the root, beside the split files.
SAMPLE_FOLDERS = ("dataset/database", "dataset/exemplar", "dataset/synth")


@dataclass(frozen=True)
class Method:
    """An extractor with a variant: one row of a table."""

    extractor: str
    variant: str


class Plan:
    """What a run consists of. `verify` compares the given files with their records; jobs of a run trust the records."""

    def __init__(self, config: Config, scripts: Path, verify: bool = True):
        self.config = config
        self.scripts = scripts
        self.verify = verify
        self.database = f"{config.benchmark}_database"
        self.collections = (self.database, *config.splits)
        self.methods = tuple(Method(e, v) for e in config.extractors for v in config.variants)
        if self.database in config.splits:
            raise InputError(f"config key splits: {self.database!r} is the database's name; call the split otherwise")
        for name in sorted({*TABLES} & {*config.splits}):
            raise InputError(f"config key splits: {name!r} is the name of a table; call the split otherwise")
        self.preprocessing = {
            name: str(preprocessing_of(config.extractor_registry[name])) for name in config.extractors
        }
        self._keys: dict[tuple, str] = {}
        table = {name: source for name, source in config.sources.items() if source.benchmark == config.benchmark}
        self.downloads = Downloads(config.root, table)
        self.budget = Budget(self.downloads.state, config.download.keep_archives)
        if self.rendered:
            self._refuse_foreign_root()

    @property
    def rendered(self) -> bool:
        """Whether the workflow draws the benchmark's images itself."""
        return self.config.entry.rendered

    def _refuse_foreign_root(self) -> None:
        """Rendering replaces files and folders of the root: never those of somebody's data."""
        entry, root = self.config.entry, Path(self.config.root)
        if not set(entry.splits.values()) <= set(SPLIT_FILES) or entry.database.folder != SAMPLE_FOLDERS[0]:
            raise InputError(
                f"config key benchmarks.{self.config.benchmark}.rendered: only the sample benchmark's own files are "
                f"rendered; expected splits among {', '.join(SPLIT_FILES)} and the database {SAMPLE_FOLDERS[0]}, or "
                "`rendered: false` for images of your own"
            )
        found = [path for path in (*SPLIT_FILES, *SAMPLE_FOLDERS) if (root / path).exists()]
        if found and not (root / MARKER).exists():
            raise InputError(
                f"config key root: {root / found[0]} exists and was not rendered by benchmark `{self.config.benchmark}`, "
                "which would replace it; expected another root, or another benchmark for this data"
            )

    # --- files --------------------------------------------------------------------------------------------------------

    def pattern(self, kind: str) -> str:
        """Path of a kind of file, with its wildcards left open."""
        return f"{self.config.results}/{FILES[kind]}"

    def path(self, kind: str, **wildcards: str) -> str:
        """Path of one file."""
        return self.pattern(kind).format(**wildcards)

    def in_root(self, path: str) -> str:
        """Path of a file below the benchmark's root."""
        return f"{self.config.root}/{path}"

    def source(self, collection: str) -> str:
        """`images` or `features`: what the collection's features come from."""
        return self.config.database_source if collection == self.database else self.config.split_source

    def shards(self, collection: str) -> list[str]:
        """Names of the collection's shards: `00000-of-00002`, …"""
        n = self.config.database_shards if collection == self.database else self.config.split_shards
        return [f"{i:05d}-of-{n:05d}" for i in range(n)]

    def feature_shards(self, collection: str, extractor: str) -> list[str]:
        """Paths of the collection's feature shards, in order."""
        shards = self.shards(collection)
        return [self.path("features", collection=collection, extractor=extractor, shard=shard) for shard in shards]

    def split_file(self, split: str) -> str:
        """Path of the split's JSON file."""
        return self.in_root(self.config.entry.splits[split])

    def feature_file(self, collection: str, extractor: str) -> str:
        """Path, below the root, of the existing feature file of a collection whose source is `features`."""
        entry = self.config.entry
        pattern = entry.database.features if collection == self.database else entry.split_features
        return pattern.replace("{extractor}", extractor).replace("{split}", collection)

    def given(self, collection: str) -> dict[str, str]:
        """What the manifest job reads: one of `split`, `folder`, `list`, `features` (below the root), and the source."""
        database, source = self.config.entry.database, self.source(collection)
        if collection != self.database:
            return {"split": self.config.entry.splits[collection], "source": source}
        if source == "features":
            return {"features": self.feature_file(collection, self.config.extractors[0]), "source": source}
        kind = "folder" if database.folder else "list"
        return {kind: getattr(database, kind), "source": source}

    # --- given files --------------------------------------------------------------------------------------------------

    def collection_paths(self, collection: str) -> list[str]:
        """Paths below the root that the manifest job reads, as far as the config names them."""
        given = self.given(collection)
        paths = [path for kind, path in given.items() if kind != "source"]
        is_split_of_images = "split" in given and given["source"] == "images"
        return [*paths, *(self.config.entry.split_folders if is_split_of_images else ())]

    def weights_paths(self, extractor: str) -> list[str]:
        """Path below the root of the extractor's weights, where a file there holds them."""
        weights = self.config.extractor_registry[extractor].pretrained
        is_below_root = isinstance(weights, WeightsFile) and not weights.package and not os.path.isabs(weights.file)
        return [weights.file] if is_below_root else []

    @cached_property
    def given_paths(self) -> list[str]:
        """All paths below the root that the chosen config reads."""
        paths = [path for collection in self.collections for path in self.collection_paths(collection)]
        for collection in self.collections:
            for extractor in self.config.extractors:
                if self.source(collection) == "images":
                    paths += self.weights_paths(extractor)
                else:
                    paths.append(self.feature_file(collection, extractor))
        return list(dict.fromkeys(paths))

    def download_marker(self, source: str) -> str:
        """What a source's download makes last."""
        return f"{self.downloads.state}/{source}.done"

    def downloads_for(self, paths: list[str]) -> list[str]:
        """The markers of the downloads without which the root lacks some of `paths` (below it)."""
        return [self.download_marker(source) for source in self.downloads.needed(paths)]

    def _to_come(self, paths: list[str]) -> list[str]:
        """Tokens of the downloads that `paths` wait for."""
        return [self.downloads.token(source) for source in self.downloads.needed(paths)]

    def file_token(self, path: str) -> str:
        """What stands for the content of a given file below the root (or at an absolute path): the same before and after
        its download."""
        if token := self.downloads.file_token(path):
            return token
        found = Path(self.config.root) / path
        return sha256_file(found) if found.is_file() else "missing"

    # --- keys ---------------------------------------------------------------------------------------------------------

    def key(self, rule: str, **wildcards: str) -> str:
        """The key of the job of `rule` with `wildcards`: changes exactly when the job's outputs may."""
        about = (rule, *sorted(wildcards.items()))
        if about not in self._keys:
            parts = getattr(self, f"_{rule}_key")(**wildcards)
            self._keys[about] = digest(rule, code_digest(self.scripts / f"{rule}.py"), *parts)
        return self._keys[about]

    def products(self, rule: str, **wildcards: str) -> list[str]:
        """The files that a job makes (temporary ones aside)."""
        if rule == "sample":
            return [self.in_root(path) for path in (*self.config.entry.splits.values(), *SAMPLE_FOLDERS)]
        if rule == "tables":
            tables = [self.path("table", table=table) for table in TABLES]
            return tables + [self.path("split_table", split=split) for split in self.config.splits]
        if rule in FIGURES:
            return [
                self.path("plot", figure=name, **wildcards) + ending
                for name in FIGURES[rule]
                for ending in FIGURE_ENDINGS
            ]
        return [self.path(kind, **wildcards) for kind in PRODUCTS[rule]]

    def is_current(self, rule: str, **wildcards: str) -> bool:
        """Whether all that the job makes is there, made with the job's present key."""
        products = self.products(rule, **wildcards)
        return recorded_key(products[0]) == self.key(rule, **wildcards) and all(map(os.path.exists, products))

    def is_outdated(self, rule: str, **wildcards: str) -> bool:
        """Whether what the job makes is there, but made with another key or with none."""
        products = self.products(rule, **wildcards)
        return os.path.exists(products[0]) and recorded_key(products[0]) != self.key(rule, **wildcards)

    def source_token(self, collection: str) -> str:
        """What stands for the content of the collection's given files."""
        return self._token(collection, self.path("sources", collection=collection), self.verify)

    @lru_cache  # noqa: B019  a run has one plan
    def _token(self, collection: str, record: str, verify: bool) -> str:
        recorded = sources.recorded_token(record)
        if recorded is not None and not verify:
            return recorded
        try:
            limit = self.config.database_limit if collection == self.database else None
            _, files = collect(self.config.root, self.given(collection), limit)
        except InputError as error:  # not yet rendered; or the job that reads them has to run, and to say so
            return digest(recorded, str(error), *self._to_come(self.collection_paths(collection)))
        token = sources.current_token(record, self.config.root, files)
        to_come = self._to_come(self.collection_paths(collection)) if token != recorded else []
        return digest(token, *to_come) if to_come else token

    @lru_cache  # noqa: B019  a run has one plan, and asks again when the file has come
    def import_token(self, collection: str, extractor: str) -> str:
        """What stands for the content of a feature file."""
        record = self.path("feature_source", collection=collection, extractor=extractor)
        file = self.feature_file(collection, extractor)
        token = sources.current_token(record, self.config.root, [file])
        to_come = self._to_come([file])
        return digest(token, *to_come) if to_come else token

    def _download_key(self, source: str) -> Iterator:
        yield self.downloads.rows(source)

    def _sample_key(self) -> Iterator:
        yield self.config.sample.model_dump(mode="json")

    def _manifest_key(self, collection: str) -> Iterator:
        entry = self.config.entry
        yield self.source_token(collection)
        yield self.source(collection)
        yield self.key("sample") if self.rendered else None
        if collection == self.database:
            yield [entry.database.folder, entry.database.list, self.config.database_limit]
        else:
            yield entry.splits[collection]

    def _decode_key(self, collection: str, preprocessing: str, shard: str) -> Iterator:
        yield self.key("manifest", collection=collection)
        yield [preprocessing, shard, self.config.invalid_images]

    def _extract_key(self, collection: str, extractor: str, shard: str) -> Iterator:
        yield self.key("decode", collection=collection, preprocessing=self.preprocessing[extractor], shard=shard)
        yield [extractor, self.config.precision, *self._extractor_identity(extractor)]

    @lru_cache  # noqa: B019  a run has one plan
    def _extractor_identity(self, extractor: str) -> tuple:
        entry = self.config.extractor_registry[extractor]
        settings = entry.model_dump(mode="json", exclude={"resize", "crop", "interpolation"})
        if not isinstance(entry.pretrained, WeightsFile):
            return settings, None
        # Not where the file lies but what it holds.
        del settings["pretrained"]["file"]
        if entry.pretrained.package is None:
            return settings, self.file_token(entry.pretrained.file)
        path = weights_file(entry.pretrained, self.config.root)
        return settings, sha256_file(path) if path.is_file() else "missing"

    def _feature_source_key(self, collection: str, extractor: str) -> Iterator:
        yield self.import_token(collection, extractor)
        yield self.feature_file(collection, extractor)

    def _import_features_key(self, collection: str, extractor: str, shard: str) -> Iterator:
        yield self.key("manifest", collection=collection)
        yield [self.key("feature_source", collection=collection, extractor=extractor), shard]

    def features_keys(self, collection: str, extractor: str) -> list[str]:
        """The key of each of the collection's feature shards, in order."""
        rule = "extract" if self.source(collection) == "images" else "import_features"
        return [self.key(rule, collection=collection, extractor=extractor, shard=s) for s in self.shards(collection)]

    def _rank_key(self, split: str, extractor: str, variant: str) -> Iterator:
        yield self.key("manifest", collection=split)
        yield self.features_keys(self.database, extractor) + self.features_keys(split, extractor)
        yield [variant, self.config.top_k]

    def _metrics_key(self, split: str, extractor: str, variant: str) -> Iterator:
        yield self.key("rank", split=split, extractor=extractor, variant=variant)
        yield self.config.recall_ks

    def method_keys(self, rule: str, split: str) -> list[str]:
        """Keys of the jobs of `rule` (rank or metrics) for all methods on `split`."""
        return [self.key(rule, split=split, extractor=m.extractor, variant=m.variant) for m in self.methods]

    def _tables_key(self) -> Iterator:
        yield [self.config.benchmark, self.config.splits, self.config.recall_ks, self.config.bootstrap.model_dump()]
        yield [[m.extractor, m.variant] for m in self.methods]
        yield [self.method_keys("metrics", split) for split in self.config.splits]

    def _plots_key(self, split: str) -> Iterator:
        yield [split, self.config.recall_ks, self.key("tables")]
        yield self.method_keys("rank", split)

    def _contact_key(self, split: str) -> Iterator:
        yield [split, self.config.contact_sheet.model_dump()]
        yield [self.method_keys("rank", split), self.key("manifest", collection=self.database)]

    @cached_property
    def targets(self) -> list[str]:
        """The files that `all` asks for."""
        figures = [
            path for split in self.config.splits for rule in FIGURES for path in self.products(rule, split=split)
        ]
        return self.products("tables") + figures
