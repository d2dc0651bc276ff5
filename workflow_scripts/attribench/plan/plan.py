"""The plan of a run: its methods, the given files that it reads, and what its keys are made of.

The plan follows from the config, the given files and their records; nothing is discovered while the workflow runs. Only
what runs at the start of a run (`note_…`) writes anything.
"""

import os
import shlex
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from attribench.common.errors import InputError, nearest, raise_all, shown
from attribench.common.files import reason
from attribench.download.choice import Downloads, network_sources
from attribench.download.install import is_there
from attribench.download.space import Budget
from attribench.download.table import origin
from attribench.extract.checkpoints import require_weights_file, weights_file
from attribench.extract.extractors import input_of, network_files, refuse_other_weights, refuse_unfit
from attribench.extract.hub import by_hand, network_folder, refuse_to_fetch_config
from attribench.extract.libraries import NetworkInput
from attribench.extract.registry import WeightsFile
from attribench.formats.calibrator import require_calibrator
from attribench.formats.feature_files import files_of, require_feature_file
from attribench.formats.ranking import SCORES, Method
from attribench.formats.score_file import require_score_file
from attribench.manifest import collect, given_files, shared_images
from attribench.plan.config import default_root, own_features
from attribench.plan.labels import labels_of_config
from attribench.plan.left_out import left_out_lines
from attribench.plan.owner import Owner, note_owner, refuse_among_images, refuse_other_owner
from attribench.plan.paths import SAMPLE_FOLDERS, TABLES
from attribench.plan.settings import Config
from attribench.plan.tokens import Tokens
from attribench.provenance.fingerprints import recorded_token
from attribench.sample import MARKER, SPLIT_FILES
from attribench.tables.published import Number, read_published


def refuse_unless_folder(key: str, path: str) -> None:
    """Raise InputError for a path that is no folder and cannot become one, naming the config `key` that has it."""
    try:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            raise InputError(f"config key {key}: {path} is a file; expected a folder")
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise InputError(f"config key {key}: {path!r} cannot be used ({reason(error)}); expected a folder") from error


@contextmanager
def _faults_of(extractor: str) -> Iterator[None]:
    """Let an InputError of the block name the extractor's config key."""
    try:
        yield
    except InputError as error:
        raise InputError(f"config key extractor_registry.{extractor}: {error}") from error


class Plan(Tokens):
    """Hold what a run consists of; `trust_records` as for `Tokens`."""

    def __init__(self, config: Config, trust_records: bool = False):
        for key in ("root", "results", "features"):
            refuse_unless_folder(key, getattr(config, key))
        table = {name: source for name, source in config.sources.items() if source.benchmark == config.benchmark}
        table |= network_sources(config.benchmark, config.networks)
        is_allowed = config.download != "never"
        super().__init__(config, Downloads(config.root, table, is_allowed), trust_records)
        if not trust_records:
            self._refuse_missing("root", default_root(config.benchmark))
            self._refuse_missing("features", own_features(config.results))
        self.budget = Budget(self.downloads.state, is_allowed and config.download.keep_archives)
        self.missing_variants = self._missing_variants()
        self.left_out = left_out_lines(config, self.missing_variants)
        self.feature_methods = tuple(
            Method(e, v)
            for e in config.extractors
            for v in config.variants
            if config.has_variant(e, v) and (e, v) not in self.missing_variants
        )
        self.methods = (*self.feature_methods, *(Method(name, SCORES) for name in config.score_methods))
        self._refuse_names()
        networks = dict.fromkeys(name for c in self.collections for name in self.extractors_of(c, "images"))
        self.network_inputs = {name: self._network_input(name) for name in networks}
        self.preprocessing = {name: str(takes.preprocessing) for name, takes in self.network_inputs.items()}
        self.labels = labels_of_config(config, self.methods)
        self.published = self._published_numbers()
        if self.rendered:
            self._refuse_foreign_root()

    def _refuse_missing(self, key: str, default: str) -> None:
        """Raise InputError for a folder that config key `key` gives and that is not there: it would be filled anew."""
        folder = Path(given := getattr(self.config, key))
        if folder.is_dir() or given == default:
            return
        beside = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
        raise InputError(
            f"config key {key}: {folder} does not exist; expected a folder that is there"
            f"{nearest(folder.name, beside) or '.'} For a new one, make it first: mkdir -p {shlex.quote(str(folder))}"
        )

    # --- methods ------------------------------------------------------------------------------------------------------

    def _missing_variants(self) -> dict[tuple[str, str], str]:
        """Return (extractor, variant) -> path below the root of its mapper's checkpoint, where that is not there.

        Raises InputError that lists them, unless they are to be skipped.
        """
        wanted = [(e, v) for e in self.config.extractors for v in self.config.variants]
        missing = {pair: path for pair in wanted if (path := self.mapper_file(*pair)) and not self._will_be_there(path)}
        if missing and self.config.missing_variants == "error":
            lines = "".join(f"\n  {e}_{v}: {self.in_root(path)}" for (e, v), path in missing.items())
            raise InputError(
                f"config key variants: {len(missing)} method(s) have no checkpoint; expected it, or "
                f"`missing_variants: skip` to leave them out:{lines}"
            )
        return missing

    def _will_be_there(self, path: str) -> bool:
        """Return whether the root has `path`, or a download will bring it by name or in a folder that is missing."""
        if os.path.exists(self.in_root(path)):
            return True
        source = self.downloads.source_of(path)
        if not self.downloads.are_allowed and self.config.missing_variants == "skip":
            return False
        if source is None or not os.path.isdir(os.path.dirname(self.in_root(path))):
            return source is not None
        is_listed = path in self.downloads.table[source].provides
        return is_listed and self.config.missing_variants == "error"

    def _refuse_names(self) -> None:
        if not self.methods:
            reasons = "".join(f"\n  {line}" for line in self.left_out)
            raise InputError(
                f"config keys extractors, variants: no method is left; expected an extractor with a variant that it has:"
                f"{reasons}"
            )
        names: dict[str, Method] = {}
        for method in self.methods:
            other = names.setdefault(method.name, method)
            if other != method:
                raise InputError(
                    f"config keys extractors, variants: {other.extractor} with {other.variant} and {method.extractor} with "
                    f"{method.variant} are both called {method.name}; call one of them otherwise"
                )
        if self.database in self.config.splits:
            raise InputError(f"config key splits: {self.database!r} is the database's name; call the split otherwise")
        for name in sorted({*TABLES} & {*self.config.splits}):
            raise InputError(f"config key splits: {name!r} is the name of a table; call the split otherwise")

    def _network_input(self, extractor: str) -> NetworkInput:
        """Return what the extractor's network takes."""
        entry, root = self.config.extractor_registry[extractor], self.config.root
        with _faults_of(extractor):
            if not self.downloads.are_allowed:
                refuse_to_fetch_config(entry, Path(root))
            return input_of(entry, root)

    def refuse_unfit_networks(self, extractors: Iterable[str]) -> None:
        """Raise InputError that names those of `extractors` whose network cannot make features of images of its size."""
        registry, root = self.config.extractor_registry, self.config.root
        raise_all(partial(refuse_unfit, extractor, registry[extractor], root) for extractor in extractors)

    def _published_numbers(self) -> list[Number]:
        """Return the published numbers that concern this run.

        A number is left out if it has a name that could have been chosen, but was not. One with an unknown name stays: the
        table shows it without a value of ours.
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

    def _refuse_foreign_root(self) -> None:
        """Raise InputError for a root with other data: rendering replaces files in it."""
        entry, root = self.config.entry, Path(self.config.root)
        if not set(entry.splits.values()) <= set(SPLIT_FILES) or entry.database.folder != SAMPLE_FOLDERS[0]:
            raise InputError(
                f"config key benchmarks.{self.config.benchmark}.rendered: only the sample benchmark's own files are "
                f"rendered; expected splits among {', '.join(SPLIT_FILES)} and the database {SAMPLE_FOLDERS[0]}, or "
                "`rendered: false` for images of your own"
            )
        existing = [path for path in (*SPLIT_FILES, *SAMPLE_FOLDERS) if (root / path).exists()]
        if existing and not (root / MARKER).exists():
            raise InputError(
                f"config key root: {root / existing[0]} exists and was not rendered by benchmark `{self.config.benchmark}`, "
                "which would replace it; expected another root, or another benchmark for this data"
            )

    # --- given files --------------------------------------------------------------------------------------------------

    @cached_property
    def given_paths(self) -> list[str]:
        """Return the files and folders that the config reads: paths below the root, or absolute ones."""
        paths = [path for collection in self.collections for path in self.collection_paths(collection)]
        for collection in self.collections:
            for extractor in self.extractors_of(collection, "images"):
                paths += self.weights_paths(extractor)
            for extractor in self.extractors_of(collection, "features"):
                paths += self.feature_files(collection, extractor)
        paths += [path for m in self.feature_methods if (path := self.mapper_file(m.extractor, m.variant))]
        paths += [path for m in self.influence_methods if (path := self.calibrator_file(m.extractor, m.variant))]
        paths += [
            self.score_file(split, method) for split in self.config.splits for method in self.config.score_methods
        ]
        return list(dict.fromkeys(paths))

    @cached_property
    def given_folders(self) -> set[str]:
        """Return those of `given_paths` that are folders: of images, or of a network's files."""
        networks = [network_folder(self.config.extractor_registry[extractor]) for extractor in self.network_inputs]
        return {*self.config.entry.split_folders, *filter(None, [self.config.entry.database.folder, *networks])}

    @cache  # noqa: B019  a run has one plan
    def weights_paths(self, extractor: str) -> list[str]:
        """Return the files (or the folder of them) of the extractor's network, below the root or at absolute paths."""
        entry = self.config.extractor_registry[extractor]
        weights = entry.pretrained
        paths = [weights.file] if isinstance(weights, WeightsFile) and not weights.package else []
        return paths + self._network_files(extractor) + list(filter(None, [network_folder(entry)]))

    def _network_files(self, extractor: str) -> list[str]:
        """Return those of the network's files that no `pretrained` names: its code, or its folder's."""
        with _faults_of(extractor):
            return network_files(self.config.extractor_registry[extractor], self.config.root)

    def refuse_other_results(self) -> None:
        """Raise InputError for a results or features folder of another benchmark or of other images, or among images."""
        records = {c: self.path("fingerprints", collection=c) for c in self.collections}
        is_same = all(recorded_token(record) == self.collection_token(c) for c, record in records.items())
        images = [self.in_root(f) for f in (*self.config.entry.split_folders, self.config.entry.database.folder) if f]
        for key in ("results", "features"):
            refuse_among_images(key, getattr(self.config, key), images)
            refuse_other_owner(key, getattr(self.config, key), self._owner, is_same)

    def note_results(self) -> None:
        """Note in the results and features folders whose they are."""
        for folder in (self.config.results, self.config.features):
            note_owner(folder, self._owner)

    @property
    def _owner(self) -> Owner:
        return Owner(self.config.benchmark, self.config.root)

    def refuse_large_sizes(self) -> None:
        """Raise InputError for one of `database_sizes` beyond the number of images, where that is known before a run."""
        sizes = self.config.database_sizes
        n = self._n_database() if sizes else None
        if n is not None and sizes[-1] > n:
            raise InputError(
                f"config key database_sizes has {sizes[-1]}; expected at most {n}, the images of the database"
            )

    def _n_database(self) -> int | None:
        """Return the number of images of the database; None before they are downloaded."""
        if self.rendered:
            return self.config.sample.database_images
        state = self.collection(self.database)
        if state.images is not None or state.listed:
            return len(state.images) if state.images is not None else state.listed.images
        try:
            return len(collect(self.config.root, self.listing(self.database), None)[0])
        except InputError:  # to be downloaded, or for the job that reads it to refuse
            return None

    def refuse_missing_files(self) -> None:
        """Raise InputError that names the given files which are not there and which nothing brings."""

        def is_missing(path: str) -> bool:
            return not os.path.exists(self.in_root(path)) and self.downloads.source_of(path) is None

        for collection in [] if self.rendered else self.collections:
            if any(map(is_missing, self.collection_paths(collection)[:1])):
                given_files(self.config.root, self.listing(collection), None)
        checks = [
            *((require_feature_file, self.feature_file(c, e)) for c in self.collections
              for e in self.extractors_of(c, "features")),
            *((require_weights_file, path) for c in self.collections for e in self.extractors_of(c, "images")
              for path in self.weights_paths(e)),
            *((require_calibrator, path) for m in self.influence_methods if (path := self.calibrator_file(*m))),
            *((require_score_file, self.score_file(s, m)) for s in self.config.splits for m in self.config.score_methods),
        ]  # fmt: skip
        missing = [(check, path) for check, path in checks if any(map(is_missing, files_of(path)))]
        raise_all(partial(check, Path(self.in_root(path))) for check, path in missing)

    def refuse_other_weights(self) -> None:
        """Raise InputError where files that are there cannot be an extractor's weights, as far as is quickly seen."""
        raise_all(partial(self._refuse_other_weights, extractor) for extractor in self.network_inputs)

    def _refuse_other_weights(self, extractor: str) -> None:
        if not self.downloads.needed(paths := self.weights_paths(extractor)):
            with _faults_of(extractor):
                refuse_other_weights(self.config.extractor_registry[extractor], self.config.root, paths)

    def refuse_split_images_in_database(self) -> None:
        """Raise InputError where the database lists images of a split, before any is decoded.

        It was so checked already if all given files are as recorded. Of a feature file, ranking compares the paths.
        """
        records = {collection: self.path("fingerprints", collection=collection) for collection in self.collections}
        listing = self.listing(self.database)
        if self.rendered or "features" in listing:
            return
        if all(self.collection_token(c) == recorded_token(record) for c, record in records.items()):
            return
        root, [kind] = self.config.root, listing.keys() - {"origin"}
        for split in self.config.splits:
            try:
                database = (self.collection(self.database).images or [])[: self.limit(self.database)]
                rows = collect(root, self.listing(split), None).rows
            except InputError:
                if os.path.exists(self.in_root(self.config.entry.splits[split])):
                    raise
                continue  # not yet downloaded
            both = shared_images(root, database, [row.path for row in rows])
            if both:
                key = f"benchmarks.{self.config.benchmark}.database.{kind}"
                raise InputError(
                    f"config key {key}: {listing[kind]} has {len(both)} of the {len(rows)} images of split {split}, such as "
                    f"{shown(both[0][0])}, which would be their own distractors; expected a database without exemplars and "
                    "queries: move them to another folder, or list the other images in a file (`database: {list: FILE}`)"
                )

    def plan_downloads(self, paths: list[str]) -> None:
        """Add up what brings those of `paths` that the root lacks.

        Raises InputError that lists them where downloads are not allowed.
        """
        for source in self.downloads.needed(paths):
            self.budget.add(source, self.downloads.table[source])
        drawn = {*self.config.entry.splits.values(), *SAMPLE_FOLDERS} if self.rendered else set()
        missing = [path for path in paths if path not in drawn and not is_there(self.config.root, path)]
        if missing and not self.downloads.are_allowed:
            lines = "".join(map(self._missing_line, missing))
            raise InputError(
                f"config key download is `never`, and {len(missing)} of the files and folders that the run reads are "
                f"missing; expected all of them, or `download` as in config.yaml:{lines}"
            )

    def _missing_line(self, path: str) -> str:
        """Return a line for each file of the missing `path`, with where it comes from if that is known."""
        networks = {network_folder(entry): entry for entry in self.config.networks.values()}
        if path in networks:
            return by_hand(networks[path], Path(self.config.root))
        source = self.downloads.source_of(path)
        return f"\n  {self.in_root(path)}" + (f"  <-  {origin(self.downloads.table[source])}" if source else "")

    # --- what keys are made of ------------------------------------------------------------------------------------------

    @cache  # noqa: B019  a run has one plan
    def extractor_identity(self, extractor: str) -> list[Any]:
        """Return what tells the extractor's features from any other's: settings, and content of its weights."""
        entry, config = self.config.extractor_registry[extractor], self.config
        settings = {k: v for k, v in entry.identity().items() if k not in ("resize", "crop", "interpolation", "squash")}
        takes = self.network_inputs[extractor]
        if entry.library != "color":
            settings |= {"mean": list(takes.mean), "std": list(takes.std)}
        how = [extractor, self.preprocessing[extractor], config.precision_of(extractor), config.is_compiled(extractor)]
        if code := [self.content_token(path) for path in self._network_files(extractor)]:
            # Not where the network lies but what it is made of.
            settings["model"] = [str(settings["model"]).rpartition(":")[2] if entry.library == "python" else None, code]
        folder = network_folder(entry)
        published = [self.content_token(folder)] if folder else []
        if not isinstance(entry.pretrained, WeightsFile):
            return [*how, settings, None, *published]
        # Not where the file lies but what it holds.
        del settings["pretrained"]["file"]
        path = str(weights_file(entry.pretrained, config.root)) if entry.pretrained.package else entry.pretrained.file
        content = self.content_token(os.path.abspath(path) if entry.pretrained.package else path)
        return [*how, settings, content, *published]

    def mapper_token(self, extractor: str, variant: str) -> str | None:
        """Return what stands for the content of the variant's mapper; None for features as they are."""
        path = self.mapper_file(extractor, variant)
        return self.content_token(path) if path else None

    def rank_options(self) -> dict[str, Any]:
        """Return the settings of ranking, as `rank.rank.Options` takes them."""
        names = ("top_k", "database_sizes", "hard_negatives", "near_duplicates")
        return {name: getattr(self.config, name) for name in names}
