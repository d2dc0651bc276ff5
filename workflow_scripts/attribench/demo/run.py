"""Find what a run has made, and where it lies. The demo reads a run's results as they are, and downloads nothing."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attribench.common.errors import InputError
from attribench.decode.reading import Reading
from attribench.extract.registry import ExtractorEntry
from attribench.formats.features import CollectionFiles
from attribench.formats.ranking import SCORES, Method
from attribench.plan.config import load
from attribench.plan.config_files import read_settings
from attribench.plan.labels import labels_of_config
from attribench.plan.plan import Plan

_MAX_PIXELS = 50_000_000  # of an image of one's own: what decoding takes stays below 1 GB


@dataclass(frozen=True)
class MethodFiles:
    """Hold the paths of the files that a method's answers are made of.

    splits: by name. rows: the folder of its memory-mapped rows. mapper: a checkpoint, None for features as they are.
    calibrator: None where influence is off. entry: of the extractor; precision: what it computes in.
    """

    method: Method
    label: str
    database: CollectionFiles
    splits: dict[str, CollectionFiles]
    rows: Path
    mapper: str | None
    calibrator: str | None
    entry: ExtractorEntry
    precision: str


class Run:
    """Give access to the results of the run that some config files describe.

    files, pairs: as for `read_settings`. Raises InputError for settings that are not valid, for a root or a results folder
    that is not there, for results of another benchmark, and where no method has features.
    """

    def __init__(self, files: Sequence[Path | str] = (), pairs: Sequence[str] = ()):
        self._files, self._pairs = files, pairs
        # A method whose mapper is not there is left out, and nothing is fetched, whatever a run would do.
        settings = read_settings(files, pairs) | {"download": "never", "missing_variants": "skip"}
        self._settings = settings
        self._plan = plan = Plan(load(settings))
        plan.refuse_other_results()
        self.config = plan.config
        self.labels: dict[Method, str] = plan.labels
        self.methods = [method for method in plan.methods if method.variant != SCORES]
        self._score_methods = [method.extractor for method in plan.methods if method.variant == SCORES]
        self.splits = list(plan.config.splits)
        if not self.methods:
            raise InputError(
                f"{', '.join(self._score_methods)} gives scores of a split's queries in files, and has no features to "
                "compare images by; expected an extractor among the config key extractors"
            )

    @property
    def missing_method_lines(self) -> list[str]:
        """Return a line for each of the run's methods that the page cannot show."""
        missing = {Method(*names): path for names, path in self._plan.missing_variants.items()}
        labels = labels_of_config(self.config, list(missing))
        without = [f"{self._plan.in_root(path)}, the mapper of {labels[method]}" for method, path in missing.items()]
        of_scores = [f"{self.labels[Method(name, SCORES)]} has scores and no features" for name in self._score_methods]
        return [f"Not shown: {line}." for line in [*(f"{line}, is missing" for line in without), *of_scores]]

    @property
    def reading(self) -> Reading:
        """Return how images are read, as the run reads them; a larger one than the page takes is refused."""
        if self.config.max_pixels <= _MAX_PIXELS:
            return Reading(self.config.exif, self.config.max_pixels)
        return Reading(self.config.exif, _MAX_PIXELS, limited_by="this page's own limit")

    def command(self, **changes: str) -> str:
        """Return the command that makes all results, with this run's settings and the `changes`."""
        if self._plan.rendered and not (self._files or self._pairs or changes):
            return "make sample"
        return self._command(["--cores", "all", "all"], changes)

    def influence_command(self) -> str:
        """Return the command that makes influence too. Raises InputError that says what else the config has to name."""
        load(self._settings | {"influence": True})
        return self.command(influence="true")

    def _command(self, words: list[str], changes: dict[str, str]) -> str:
        pairs = [pair for pair in self._pairs if pair.partition("=")[0] not in changes]
        pairs += [f"{key}={value}" for key, value in changes.items()]
        files = ["--configfile", *map(str, self._files)] if self._files else []
        return shlex.join([".venv/bin/snakemake", *words, *files, *(["--config", *pairs] if pairs else [])])

    def files_of(self, method: Method) -> MethodFiles:
        """Return what the answers of `method` are made of."""
        plan, (extractor, variant) = self._plan, method
        mapper = plan.mapper_file(extractor, variant)
        made = plan.path("checkpoint", extractor=self.config.compared_with(extractor), variant=variant)
        return MethodFiles(
            method,
            self.labels[method],
            self._collection(plan.database, extractor),
            {split: self._collection(split, extractor) for split in self.splits},
            Path(self.config.results, "demo", extractor, variant),
            plan.in_root(mapper) if mapper else made if variant in plan.tuned else None,
            self._calibrator(method),
            self.config.extractor_registry[extractor],
            self.config.precision_of(extractor),
        )

    def image(self, path: str) -> str:
        """Return where the image lies whose path, in manifests, is `path`."""
        return self._plan.in_root(path)

    def hint(self, path: str, is_database: bool) -> str:
        """Return how to get an image that is not on this disk."""
        if self._plan.rendered:
            return f"`{self.command()}` draws the sample's images anew."
        source = self._plan.downloads.source_of(path)
        if source is None:
            return f"Expected at {self.image(path)}."
        key = "database_source" if is_database else "split_source"
        command = self._command(["-c1", "download"], {key: "images"})
        return f"`{command}` fetches them ({self._plan.downloads.described(source)})."

    def _calibrator(self, method: Method) -> str | None:
        if method not in self._plan.influence_methods:
            return None
        given = self._plan.calibrator_file(*method)
        return self._plan.in_root(given) if given else self._plan.path("calibrator", **method._asdict())

    def _collection(self, name: str, extractor: str) -> CollectionFiles:
        plan = self._plan
        manifest, record = (plan.path(kind, collection=name) for kind in ("manifest", "fingerprints"))
        return CollectionFiles(name, manifest, record, plan.features(name, extractor))


def missing_files(files: MethodFiles, split: str) -> list[str]:
    """Return the files that are missing of those that answers about images of `split` are made of."""
    collections = (files.database, files.splits[split])
    wanted = [str(path) for c in collections for path in (c.manifest, *c.shards)]
    return [path for path in [*wanted, *filter(None, [files.mapper, files.calibrator])] if not os.path.exists(path)]
