"""Paths: where every file of a run lies, and which files each rule makes. All of it follows from the config alone."""

import os

from attribench.formats.feature_files import files_of
from attribench.formats.manifest import shard_names
from attribench.formats.ranking import PRETRAINED, SCORES, Method
from attribench.gallery.page import PAGE_FILES
from attribench.plan.settings import Config

# Below the features folder, which several results folders may share, by kind; `{…}` are the rules' wildcards.
FEATURES = {
    # Beside the folder, whose files may be removed when all is ranked.
    "fingerprints": "../.{features}/{collection}.csv",
    "features": "{collection}/{extractor}/{shard}.h5",
    "feature_fingerprint": "{collection}/{extractor}/.fingerprint.csv",
}
# Below the results folder.
FILES = {
    "manifest": "manifests/{collection}.csv",
    "left_out": "manifests/{collection}.left_out.csv",
    "pixels": "pixels/{collection}/{shard}.h5",
    "ranks": "ranks/{split}/{extractor}/{variant}.h5",
    "score_fingerprint": "ranks/{split}/{extractor}/.fingerprint.csv",
    "histogram": "histograms/{split}/{extractor}/{variant}.h5",
    "calibrator": "calibrators/{extractor}/{variant}.pth",
    "calibration": "calibrators/{extractor}/{variant}.json",
    "influence": "influence/{split}/{extractor}/{variant}.h5",
    "metrics": "metrics/{split}/{extractor}/{variant}.csv",
    "checkpoint": "mappers/{extractor}/{variant}.pth",
    "safetensors": "mappers/{extractor}/{variant}.safetensors",
    "learning_curve": "mappers/{extractor}/{variant}.csv",
    "overlap": "overlap/{split}/{extractor}/{variant}.csv",
    "split_table": "tables/{split}.csv",
    "table": "tables/{table}.csv",
    "paper_table": "tables/latex/{metric}",
    "figure": "plots/{split}_{figure}",
    "gallery_data": "gallery/{split}/data.js",
    "gallery_thumbnails": "gallery/{split}/thumbnails",
    "gallery_page": "gallery/{file}",
    "report": "report.html",
    "qrels": "trec/{split}.qrels",
    "run": "trec/{split}/{extractor}/{variant}.run",
}
TABLES = (
    *("summary", "comparisons", "breakdown", "database_sizes"),
    *("invalid_images", "left_out", "near_duplicates", "missing_variants", "precisions", "published"),
)
# The figures of a split, by the rule that draws them; `differences` only with several methods, `sizes` with
# `database_sizes`, `variants` with several of them.
FIGURES = {
    "plots": ("metrics", "differences", "recall", "ranks", "sizes", "variants"),
    "contact": ("contact", "comparison"),
    "influence_plots": ("influence",),
}
FIGURE_ENDINGS = (".png", ".svg", ".pdf", ".csv", ".txt")
# What the sample stage makes below the root, beside the split files.
SAMPLE_FOLDERS = ("dataset/database", "dataset/exemplar", "dataset/synth")


class Paths:
    """Hold the names and paths of a run. `methods` are all that is ranked; the plan sets them."""

    methods: tuple[Method, ...] = ()

    def __init__(self, config: Config):
        self.config = config
        self.database = f"{config.benchmark}_database"
        self.tuned = [name for name in config.variants if name in config.tune]
        training = [split for name in self.tuned for part in config.tuning_splits(name) for split in part]
        used = [split for split in training if self.tuned_extractors(split)]
        calibrating = [split for name in config.variants for split in config.calibrating_splits(name)]
        used += [split for split in calibrating if self.calibrated_extractors(split)]
        self.collections = tuple(dict.fromkeys((self.database, *config.splits, *used)))

    @property
    def rendered(self) -> bool:
        """Return whether the workflow draws the benchmark's images itself."""
        return self.config.entry.rendered

    # --- results ------------------------------------------------------------------------------------------------------

    def pattern(self, kind: str) -> str:
        """Return the path of a kind of file, with its wildcards left open."""
        if kind in FEATURES:
            name = os.path.basename(self.config.features)
            return os.path.normpath(f"{self.config.features}/{FEATURES[kind].replace('{features}', name)}")
        return f"{self.config.results}/{FILES[kind]}"

    def path(self, kind: str, **wildcards: str) -> str:
        """Return the path of one file."""
        return self.pattern(kind).format(**wildcards)

    def shards(self, collection: str) -> list[str]:
        """Return the names of the collection's shards: `00000-of-00002`, …"""
        return shard_names(self.config.database_shards if collection == self.database else self.config.split_shards)

    def features(self, collection: str, extractor: str) -> list[str]:
        """Return the paths of the collection's feature shards, in order."""
        wildcards = {"collection": collection, "extractor": extractor}
        return [self.path("features", **wildcards, shard=shard) for shard in self.shards(collection)]

    def files_of_methods(self, kind: str, split: str) -> list[str]:
        """Return the files of a kind of all methods on `split`: ranks, metrics or runs."""
        return [self.path(kind, split=split, extractor=m.extractor, variant=m.variant) for m in self.methods]

    def files_of_splits(self, kind: str) -> list[str]:
        """Return the files of a kind of all methods on all splits, split by split."""
        return [path for split in self.config.splits for path in self.files_of_methods(kind, split)]

    def figures(self, rule: str) -> list[str]:
        """Return the names of the figures that `rule` draws of each split."""
        has_variants = any(method.variant not in (PRETRAINED, SCORES) for method in self.methods)
        drawn = {
            "differences": len(self.methods) > 1,
            "sizes": bool(self.config.database_sizes),
            "variants": has_variants,
            "influence": bool(self.influence_methods),
        }
        return [name for name in FIGURES[rule] if drawn.get(name, True)]

    def figure_files(self, rule: str, split: str) -> list[str]:
        """Return the files of a split's figures."""
        stems = [self.path("figure", split=split, figure=name) for name in self.figures(rule)]
        return [stem + ending for stem in stems for ending in FIGURE_ENDINGS]

    def tables(self) -> dict[str, str]:
        """Return the paths of the tables of the whole run, by name."""
        return {table: self.path("table", table=table) for table in TABLES}

    def split_tables(self) -> list[str]:
        """Return the paths of the splits' tables."""
        return [self.path("split_table", split=split) for split in self.config.splits]

    def targets(self) -> list[str]:
        """Return the files that `all` makes."""
        figures = [path for split in self.config.splits for rule in FIGURES for path in self.figure_files(rule, split)]
        tables = [*self.tables().values(), *self.split_tables(), *self.influence_tables()]
        pages = [*self.gallery_page(), self.path("report")]
        return [*tables, *self.paper_tables(), *figures, *self.tuning_figure(), *pages]

    def paper_metrics(self) -> list[str]:
        """Return the metrics that a paper has a table of."""
        return ["mAP", *(f"recall@{k}" for k in self.config.recall_ks)]

    def paper_tables(self, *endings: str) -> list[str]:
        """Return the tables of a paper with these endings, or with all that they have."""
        names = [metric.replace("@", "_at_") for metric in self.paper_metrics()]
        return [self.path("paper_table", metric=name) + end for end in endings or (".tex", ".md") for name in names]

    def influence_tables(self) -> list[str]:
        """Return the table of influence; none where there is no influence."""
        return [self.path("table", table="influence")] if self.influence_methods else []

    def tuning_figure(self) -> list[str]:
        """Return the files of the figure of learning curves; none where nothing is tuned."""
        stem = f"{self.config.results}/plots/learning_curves"
        return [stem + ending for ending in FIGURE_ENDINGS] if self.tuned_methods else []

    def gallery_page(self) -> list[str]:
        """Return the files of the gallery's page; the first one is opened."""
        return [self.path("gallery_page", file=file) for file in PAGE_FILES]

    # --- tuning -------------------------------------------------------------------------------------------------------

    @property
    def tuned_methods(self) -> list[Method]:
        """Return each extractor with each variant that is tuned for it; not those that take another extractor's mapper."""
        used = [method for method in self.methods if method.variant in self.tuned]
        return list(dict.fromkeys(Method(self.config.compared_with(m.extractor), m.variant) for m in used))

    def tuned_extractors(self, split: str) -> list[str]:
        """Return the extractors for whose variants `split` is trained on or chooses."""
        variants = [name for name in self.tuned if any(split in part for part in self.config.tuning_splits(name))]
        pairs = [(e, v) for e in self.config.extractors for v in variants if self.config.has_variant(e, v)]
        return list(dict.fromkeys(self.config.compared_with(extractor) for extractor, _ in pairs))

    def extractors_for(self, collection: str) -> list[str]:
        """Return the extractors whose features of the collection are used: of splits that are not evaluated, not all."""
        if collection == self.database or collection in self.config.splits:
            return list(self.config.extractors)
        used = {*self.tuned_extractors(collection), *self.calibrated_extractors(collection)}
        return [extractor for extractor in self.config.extractors if extractor in used]

    # --- influence ----------------------------------------------------------------------------------------------------

    @property
    def influence_methods(self) -> list[Method]:
        """Return the methods whose influence is computed: those of features, if it is wanted."""
        return [method for method in self.methods if method.variant != SCORES] if self.config.influence else []

    def calibrated_extractors(self, split: str) -> list[str]:
        """Return the extractors for whose variants `split` calibrates influence."""
        variants = [name for name in self.config.variants if split in self.config.calibrating_splits(name)]
        return [e for e in self.config.extractors if any(self.config.has_variant(e, v) for v in variants)]

    @property
    def ranked(self) -> list[tuple[str, Method]]:
        """Return each split with each method that ranks it: those that are evaluated, and those that calibrate influence."""
        pairs = [(split, method) for split in self.config.splits for method in self.methods]
        pairs += [(s, m) for m in self.influence_methods for s in self.config.calibrating_splits(m.variant)]
        return list(dict.fromkeys(pairs))

    def calibrator_file(self, extractor: str, variant: str) -> str | None:
        """Return the path, below the root, of the calibrator that is given for a variant; None where it is to be made."""
        entry = self.config.variant_registry.get(variant)
        if not self.config.influence or entry is None or entry.calibrator is None:
            return None
        return entry.calibrator.replace("{extractor}", self.config.compared_with(extractor))

    # --- given files --------------------------------------------------------------------------------------------------

    def in_root(self, path: str) -> str:
        """Return the path of a file below the benchmark's root; an absolute path stays as it is."""
        return path if path.startswith("/") else f"{self.config.root}/{path}"

    def extractors_of(self, collection: str, origin: str) -> list[str]:
        """Return the extractors whose features of the collection come from `images`, or are `features` that exist."""
        is_database = collection == self.database
        takes_images = {name: self.config.takes_images(name, is_database) for name in self.extractors_for(collection)}
        return [name for name, takes in takes_images.items() if takes == (origin == "images")]

    def listing(self, collection: str) -> dict[str, str]:
        """Return what lists the collection's images, as `manifest.collect` takes it; paths are below the root."""
        database, origin = (
            self.config.entry.database,
            "images" if self.extractors_of(collection, "images") else "features",
        )
        if collection != self.database:
            return {"split": self.config.entry.splits[collection], "origin": origin}
        is_listed = (database.folder or database.list) and self.config.database_source == "images"
        if origin == "features" and self.config.extractors and not is_listed:
            return {"features": self.feature_file(collection, self.config.extractors[0]), "origin": origin}
        if database.folder:
            return {"folder": database.folder, "origin": "images"}
        return {"list": database.list, "origin": origin}

    def images_of_features(self, collection: str) -> dict[str, str]:
        """Return the `folder` or `list` of the images that the database's feature file is of, if the config names one."""
        database = self.config.entry.database
        if "features" not in self.listing(collection):
            return {}
        return {kind: path for kind in ("folder", "list") if (path := getattr(database, kind))}

    def collection_paths(self, collection: str) -> list[str]:
        """Return what a manifest job reads, below the root: the listing, and the folders of images that are known."""
        listing = self.listing(collection)
        paths = [file for kind, path in listing.items() if kind != "origin" for file in files_of(path)]
        is_split_of_images = "split" in listing and listing["origin"] == "images"
        return [*paths, *(self.config.entry.split_folders if is_split_of_images else ())]

    def feature_file(self, collection: str, extractor: str) -> str:
        """Return the path, below the root, of the existing feature file of a collection."""
        is_database = collection == self.database
        pattern = self.config.feature_pattern(extractor, is_database).replace("{extractor}", extractor)
        name = "database" if is_database else collection
        return pattern.replace("{split}", collection).replace("{collection}", name)

    def feature_files(self, collection: str, extractor: str) -> list[str]:
        """Return the files that the collection's feature file consists of."""
        return files_of(self.feature_file(collection, extractor))

    def mapper_file(self, extractor: str, variant: str) -> str | None:
        """Return the path, below the root, of the checkpoint of the variant's mapper; None for one that has none there."""
        if variant in (PRETRAINED, SCORES, *self.tuned):
            return None
        return self.config.variant_registry[variant].mapper.replace("{extractor}", self.config.compared_with(extractor))

    def score_file(self, split: str, method: str) -> str:
        """Return the path, below the root, of the scores of a method that is no feature."""
        return self.config.score_registry[method].scores.replace("{split}", split)

    def sample_files(self) -> list[str]:
        """Return the split files that the sample stage makes."""
        return [self.in_root(path) for path in self.config.entry.splits.values()]

    def sample_folders(self) -> list[str]:
        """Return the folders of images that the sample stage makes."""
        return [self.in_root(folder) for folder in SAMPLE_FOLDERS]
