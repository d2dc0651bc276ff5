"""The plan of a run: its methods, the given files that it needs, and each job's key.

The rules ask the plan and hold no logic of their own. Everything here follows from the config and from what `sources`
says of the given files; nothing is discovered while the workflow runs.
"""

import os
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path

from attribench import sources
from attribench.checkpoints import weights_file
from attribench.config import SCORES, Config
from attribench.download.choice import Downloads
from attribench.download.space import Budget
from attribench.errors import InputError
from attribench.extractors import preprocessing_of
from attribench.files import sha256_file
from attribench.identity import code_digest, digest, is_made
from attribench.layout import SAMPLE_FOLDERS, TABLES, Layout, Method
from attribench.manifest import given_files
from attribench.published import Number, read_published
from attribench.registry import WeightsFile
from attribench.sample import MARKER, SPLIT_FILES


class Plan(Layout):
    """What a run consists of. `verify` compares the given files with their records; jobs of a run trust the records."""

    def __init__(self, config: Config, scripts: Path, verify: bool = True):
        super().__init__(config)
        self.scripts = scripts
        self.verify = verify
        table = {name: source for name, source in config.sources.items() if source.benchmark == config.benchmark}
        self.downloads = Downloads(config.root, table)
        self.budget = Budget(self.downloads.state, config.download.keep_archives)
        self.missing_variants = self._missing_variants()
        self.feature_methods = tuple(
            Method(e, v) for e in config.extractors for v in config.variants if (e, v) not in self.missing_variants
        )
        self.methods = (*self.feature_methods, *(Method(name, SCORES) for name in config.score_methods))
        if not self.methods:
            raise InputError(
                "config key variants: no extractor has a checkpoint for one of them; expected at least one"
            )
        self._refuse_equal_names()
        if self.database in config.splits:
            raise InputError(f"config key splits: {self.database!r} is the database's name; call the split otherwise")
        for name in sorted({*TABLES} & {*config.splits}):
            raise InputError(f"config key splits: {name!r} is the name of a table; call the split otherwise")
        self.preprocessing = {name: self._preprocessing(name) for name in config.extractors}
        self.published = self._published_numbers()
        self._keys: dict[tuple, str] = {}
        if self.rendered:
            self._refuse_foreign_root()

    def _refuse_equal_names(self) -> None:
        """Two methods would share their files: `a` with variant `b_c`, and `a_b` with variant `c`."""
        names: dict[str, Method] = {}
        for method in self.methods:
            other = names.setdefault(f"{method.extractor}_{method.variant}", method)
            if other != method:
                raise InputError(
                    f"config keys extractors, variants: {other.extractor} with {other.variant} and {method.extractor} with "
                    f"{method.variant} are both called {method.extractor}_{method.variant}; call one of them otherwise"
                )

    def _preprocessing(self, extractor: str) -> str:
        """Its canonical text."""
        try:
            return str(preprocessing_of(self.config.extractor_registry[extractor]))
        except InputError as error:
            raise InputError(f"config key extractor_registry.{extractor}: {error}") from error

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

    def _missing_variants(self) -> dict[tuple[str, str], str]:
        """(extractor, variant) -> path below the root of its mapper's checkpoint, where that is not there.

        Raises InputError that lists them, unless they are to be skipped.
        """
        wanted = [(e, v) for e in self.config.extractors for v in self.config.variants]
        missing = {about: path for about in wanted if (path := self.mapper_file(*about)) and not self._is_there(path)}
        if missing and self.config.missing_variants == "error":
            shown = "".join(f"\n  {e}_{v}: {self.in_root(path)}" for (e, v), path in missing.items())
            raise InputError(
                f"config key variants: {len(missing)} method(s) have no checkpoint; expected it, or "
                f"`missing_variants: skip` to leave them out:{shown}"
            )
        return missing

    def _is_there(self, path: str) -> bool:
        """Whether the root has `path`, or a download will bring it: not into a folder that is there without it."""
        if os.path.exists(self.in_root(path)):
            return True
        source = self.downloads.source_of(path)
        if source is None or not os.path.isdir(os.path.dirname(self.in_root(path))):
            return source is not None
        is_listed = path in self.downloads.table[source].provides
        return is_listed and self.config.missing_variants == "error"

    def _published_numbers(self) -> list[Number]:
        """The published numbers that this run has to be held against.

        Left out are those of another run: with a name that could have been chosen and was not. One with a name that does
        not exist stays, so that it stands out in the table.
        """
        config = self.config
        chosen = [*config.extractors, *config.score_methods]

        def is_of_another_run(number: Number) -> bool:
            names = (
                (number.benchmark, [config.benchmark], config.benchmarks),
                (number.split, config.splits, config.entry.splits),
                (number.extractor, chosen, [*config.extractor_registry, *config.score_registry]),
                (number.variant, [*config.variants, SCORES], [*config.variant_names, SCORES]),
                # Any cut-off could have been chosen.
                (number.cut_off, [None, *config.recall_ks], [number.cut_off]),
            )
            return any(name in valid and name not in of_this for name, of_this, valid in names)

        numbers = read_published(config.published_numbers) if config.published_numbers else []
        return [number for number in numbers if not is_of_another_run(number)]

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

    def mapper_paths(self, extractor: str, variant: str) -> list[str]:
        """The checkpoint of the variant's mapper, below the root; none for features as they are."""
        path = self.mapper_file(extractor, variant)
        return [path] if path else []

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
        paths += [path for m in self.feature_methods for path in self.mapper_paths(m.extractor, m.variant)]
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

    def product_keys(self, rule: str, **wildcards: str) -> dict[str, str]:
        """The key of each file that the job makes: the job's own, but of a rank file that of its variant."""
        if rule == "rank":
            return {path: key for _, _, path, key in self.ranked_variants(**wildcards)}
        return dict.fromkeys(self.products(rule, **wildcards), self.key(rule, **wildcards))

    def is_current(self, rule: str, **wildcards: str) -> bool:
        """Whether all that the job makes is there, each file made with its present key."""
        return all(is_made(path, key) for path, key in self.product_keys(rule, **wildcards).items())

    def is_outdated(self, rule: str, **wildcards: str) -> bool:
        """Whether some of what the job makes is there, but some of it not, or made with another key or with none."""
        found = any(map(os.path.exists, self.products(rule, **wildcards)))
        return found and not self.is_current(rule, **wildcards)

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
            files = given_files(self.config.root, self.given(collection), limit)
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

    def preprocessings(self, collection: str, shard: str, only_needed: bool) -> list[str]:
        """Canonical texts of the preprocessings that a decoding job gives each image, for all its extractors.

        With `only_needed`, for those alone whose features are not there or not current.
        """
        about = {"collection": collection, "shard": shard}
        extractors = dict.fromkeys(method.extractor for method in self.feature_methods)
        needed = {
            self.preprocessing[name]
            for name in extractors
            if not (only_needed and self.is_current("extract", extractor=name, **about))
        }
        return sorted(needed or {self.preprocessing[name] for name in extractors})

    def _decode_key(self, collection: str, shard: str) -> Iterator:
        yield self.key("manifest", collection=collection)
        yield [shard, self.config.invalid_images]

    def _extract_key(self, collection: str, extractor: str, shard: str) -> Iterator:
        yield self.key("decode", collection=collection, shard=shard)
        how = (self.preprocessing[extractor], self.config.precision_of(extractor), self.config.is_compiled(extractor))
        yield [extractor, *how, *self._extractor_identity(extractor)]

    @lru_cache  # noqa: B019  a run has one plan
    def _extractor_identity(self, extractor: str) -> tuple:
        entry = self.config.extractor_registry[extractor]
        settings = entry.model_dump(mode="json", exclude={"resize", "crop", "interpolation", "squash", "precision"})
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
        """The keys of the jobs that make the collection's feature shards, in order."""
        rule = "extract" if self.source(collection) == "images" else "import_features"
        about = {"collection": collection, "extractor": extractor}
        return [self.key(rule, **about, shard=shard) for shard in self.job_shards(collection)]

    def rank_options(self) -> dict:
        """The settings of ranking, as `rank_split.Options` takes them."""
        names = ("top_k", "database_sizes", "hard_negatives", "near_duplicates")
        return {name: getattr(self.config, name) for name in names}

    def ranked_variants(self, split: str, extractor: str) -> list[tuple[str, str, str, str]]:
        """Name, mapper's checkpoint below the root (empty: none), rank file and its key, of each of a job's variants."""
        return [
            (variant, self.mapper_file(extractor, variant) or "", path, self.rank_key(split, extractor, variant))
            for variant, path in self.rank_files(split, extractor).items()
        ]

    def mappers_to_apply(self, split: str, extractor: str, only_needed: bool) -> list[str]:
        """The checkpoints of a job's mappers; with `only_needed`, of those variants alone that are not current."""
        variants = self.ranked_variants(split, extractor)
        return [mapper for _, mapper, *made in variants if mapper and not (only_needed and is_made(*made))]

    def _rank_key(self, split: str, extractor: str, variant: str) -> Iterator:
        yield self.key("manifest", collection=split)
        yield self.features_keys(self.database, extractor) + self.features_keys(split, extractor)
        yield [variant, self._mapper_identity(extractor, variant), self.rank_options()]

    @lru_cache  # noqa: B019  a run has one plan
    def _mapper_identity(self, extractor: str, variant: str) -> str | None:
        path = self.mapper_file(extractor, variant)
        return self.file_token(path) if path else None

    def score_token(self, split: str, extractor: str) -> str:
        """What stands for the content of a score file."""
        record = self.path("score_sources", split=split, extractor=extractor)
        return sources.current_token(record, self.config.root, [self.score_file(split, extractor)])

    def _rank_scores_key(self, split: str, extractor: str, variant: str) -> Iterator:
        yield [self.key("manifest", collection=collection) for collection in (split, self.database)]
        yield [self.score_token(split, extractor), self.rank_options()]

    def rank_key(self, split: str, extractor: str, variant: str) -> str:
        """The key of the rank file."""
        rule = "rank_scores" if variant == SCORES else "rank"
        return self.key(rule, split=split, extractor=extractor, variant=variant)

    def _metrics_key(self, split: str, extractor: str, variant: str) -> Iterator:
        yield self.rank_key(split, extractor, variant)
        yield self.config.recall_ks

    def rank_keys(self, split: str) -> list[str]:
        """Keys of the rank files of all methods on `split`."""
        return [self.rank_key(split, m.extractor, m.variant) for m in self.methods]

    def _statistics_key(self) -> Iterator:
        """Of the tables' key, what the statistics depend on, which the plots draw."""
        yield code_digest(self.scripts / "tables.py")
        yield [self.config.benchmark, self.config.splits, self.config.recall_ks, self.config.bootstrap.model_dump()]
        yield [[m.extractor, m.variant] for m in self.methods]
        yield [
            self.key("metrics", split=split, extractor=m.extractor, variant=m.variant)
            for split in self.config.splits
            for m in self.methods
        ]

    def _tables_key(self) -> Iterator:
        yield [*self._statistics_key()]
        yield [[*about, path] for about, path in self.missing_variants.items()]
        yield [self.published, self.config.compared]

    def _plots_key(self, split: str) -> Iterator:
        yield [split, self.config.recall_ks, *self._statistics_key()]
        yield self.rank_keys(split)

    def _contact_key(self, split: str) -> Iterator:
        yield [split, self.config.contact_sheet.model_dump()]
        yield [self.rank_keys(split), self.key("manifest", collection=self.database)]

    def _trec_key(self) -> Iterator:
        yield [self.config.splits, [[m.extractor, m.variant] for m in self.methods]]
        yield [self.rank_keys(split) for split in self.config.splits]
