"""Where everything of a run lies: its collections, shards and methods, and the path of each file.

Everything here follows from the config alone; nothing is discovered while the workflow runs.
"""

from dataclasses import dataclass
from functools import cached_property

from attribench.config import PRETRAINED, SCORES, Config
from attribench.manifest import all_shards, job_shards, job_starts, shard_names

# Below the results folder, by kind; `{…}` are the rules' wildcards.
FILES = {
    "manifest": "manifests/{collection}.csv",
    "sources": "manifests/.sources/{collection}.csv",
    "pixels": "pixels/{collection}/{shard}.h5",
    "features": "features/{collection}/{extractor}/{shard}.h5",
    "feature_source": "features/{collection}/{extractor}/.source.csv",
    "ranks": "ranks/{split}/{extractor}_{variant}.h5",
    "ranked": "ranks/{split}/.{extractor}.ranked",  # empty: a job has made the rank files of the extractor's variants
    "score_sources": "ranks/{split}/.sources/{extractor}.csv",
    "metrics": "metrics/{split}/{extractor}_{variant}.csv",
    "split_table": "tables/{split}.csv",
    "table": "tables/{table}.csv",
    "plot": "plots/{split}_{figure}",
    "qrels": "trec/{split}.qrels",
    "run": "trec/{split}/{extractor}_{variant}.run",
}
# The kinds of file that a job of each rule makes, where these are all it makes.
PRODUCTS = {
    "manifest": ("manifest",),
    "feature_source": ("feature_source",),
    "rank_scores": ("ranks",),
    "metrics": ("metrics",),
}
TABLES = (
    *("summary", "comparisons", "breakdown", "database_sizes"),
    *("invalid_images", "near_duplicates", "missing_variants", "precisions", "published"),
)
# The figures of a split, by the rule that draws them; `sizes` only where ranks at several sizes are asked for.
FIGURES = {"plots": ("metrics", "recall", "ranks", "sizes"), "contact": ("contact", "comparison")}
FIGURE_ENDINGS = (".png", ".svg", ".csv")
# What the sample stage makes anew below the root, beside the split files.
SAMPLE_FOLDERS = ("dataset/database", "dataset/exemplar", "dataset/synth")


@dataclass(frozen=True)
class Method:
    """An extractor with a variant, or a method that gives scores (its name, `scores`): one row of a table."""

    extractor: str
    variant: str


class Layout:
    """Names and paths of a run. `methods` are all that can be ranked; a plan sets them."""

    methods: tuple[Method, ...] = ()

    def __init__(self, config: Config):
        self.config = config
        self.database = f"{config.benchmark}_database"
        self.collections = (self.database, *config.splits)

    @property
    def rendered(self) -> bool:
        """Whether the workflow draws the benchmark's images itself."""
        return self.config.entry.rendered

    def pattern(self, kind: str) -> str:
        """Path of a kind of file, with its wildcards left open."""
        return f"{self.config.results}/{FILES[kind]}"

    def path(self, kind: str, **wildcards: str) -> str:
        """Path of one file."""
        return self.pattern(kind).format(**wildcards)

    def in_root(self, path: str) -> str:
        """Path of a file below the benchmark's root; an absolute path stays as it is."""
        return path if path.startswith("/") else f"{self.config.root}/{path}"

    def source(self, collection: str) -> str:
        """`images` or `features`: what the collection's features come from."""
        return self.config.database_source if collection == self.database else self.config.split_source

    def shards(self, collection: str) -> list[str]:
        """Names of the collection's shards: `00000-of-00002`, …"""
        return shard_names(self.config.database_shards if collection == self.database else self.config.split_shards)

    def job_shards(self, collection: str) -> list[str]:
        """Of the names of the collection's shards, the first of each job that makes some: what Snakemake is told of."""
        shards = self.shards(collection)
        return [shards[i] for i in (job_starts(len(shards)) if self.source(collection) == "images" else [0])]

    def features_asked_for(self, collection: str, extractor: str) -> list[str]:
        """Of the collection's feature shards, those to ask Snakemake for."""
        shards = self.job_shards(collection)
        return [self.path("features", collection=collection, extractor=extractor, shard=shard) for shard in shards]

    def variants(self, extractor: str) -> list[str]:
        """The variants that the extractor is ranked with, all by one job of a split."""
        return [method.variant for method in self.methods if method.extractor == extractor]

    def rank_files(self, split: str, extractor: str) -> dict[str, str]:
        """Their rank files, by variant."""
        return {v: self.path("ranks", split=split, extractor=extractor, variant=v) for v in self.variants(extractor)}

    def rank_asked_for(self, split: str, extractor: str, variant: str) -> str:
        """What to ask Snakemake for to have the rank file of a method."""
        about = {"split": split, "extractor": extractor}
        return self.path("ranks", **about, variant=variant) if variant == SCORES else self.path("ranked", **about)

    def ranks_asked_for(self, split: str) -> list[str]:
        """Those of all methods on the split."""
        return list(dict.fromkeys(self.rank_asked_for(split, m.extractor, m.variant) for m in self.methods))

    def feature_file(self, collection: str, extractor: str) -> str:
        """Path, below the root, of the existing feature file of a collection whose source is `features`."""
        entry = self.config.entry
        pattern = entry.database.features if collection == self.database else entry.split_features
        return pattern.replace("{extractor}", extractor).replace("{split}", collection)

    def mapper_file(self, extractor: str, variant: str) -> str | None:
        """Path, below the root, of the checkpoint of the variant's mapper; None for `pretrained`."""
        if variant == PRETRAINED:
            return None
        return self.config.variant_registry[variant].mapper.replace("{extractor}", self.config.compared_with(extractor))

    def score_file(self, split: str, method: str) -> str:
        """Path, below the root, of the scores of a method that is no feature."""
        return self.config.score_registry[method].replace("{split}", split)

    def figures(self, rule: str) -> list[str]:
        """Names of the figures of each split that `rule` draws."""
        return [name for name in FIGURES[rule] if name != "sizes" or self.config.database_sizes]

    def given(self, collection: str) -> dict[str, str]:
        """What the manifest job reads: one of `split`, `folder`, `list`, `features` (below the root), and the source."""
        database, source = self.config.entry.database, self.source(collection)
        if collection != self.database:
            return {"split": self.config.entry.splits[collection], "source": source}
        if source == "features" and self.config.extractors:
            return {"features": self.feature_file(collection, self.config.extractors[0]), "source": source}
        kind = "folder" if database.folder else "list"
        return {kind: getattr(database, kind), "source": source}

    def products(self, rule: str, **wildcards: str) -> list[str]:
        """The files that a job makes (temporary ones aside)."""
        if rule == "sample":
            return [self.in_root(path) for path in (*self.config.entry.splits.values(), *SAMPLE_FOLDERS)]
        if rule == "tables":
            tables = [self.path("table", table=table) for table in TABLES]
            return tables + [self.path("split_table", split=split) for split in self.config.splits]
        if rule == "trec":
            qrels = [self.path("qrels", split=split) for split in self.config.splits]
            methods = [(split, m) for split in self.config.splits for m in self.methods]
            return qrels + [self.path("run", split=s, extractor=m.extractor, variant=m.variant) for s, m in methods]
        if rule in FIGURES:
            return [
                self.path("plot", figure=name, **wildcards) + ending
                for name in self.figures(rule)
                for ending in FIGURE_ENDINGS
            ]
        if rule == "import_features":
            return all_shards([self.path("features", **wildcards)])
        if rule == "rank":
            return [self.path("ranked", **wildcards), *self.rank_files(**wildcards).values()]
        if rule == "extract":
            return [self.path("features", **{**wildcards, "shard": shard}) for shard in job_shards(wildcards["shard"])]
        return [self.path(kind, **wildcards) for kind in PRODUCTS[rule]]

    @cached_property
    def targets(self) -> list[str]:
        """The files that `all` asks for."""
        figures = [
            path for split in self.config.splits for rule in FIGURES for path in self.products(rule, split=split)
        ]
        return self.products("tables") + figures
