# The checked config, the plan, and the helpers that every rule uses.
#
# Staleness. Each job's `key` param is a digest of the code that it runs, the settings that it uses, and the keys of all
# that it reads (workflow_scripts/attribench/identity.py); a change of it is what makes a job run again. Time stamps are
# kept out of that: given files are `ancient` (their content is part of the key), and so is what a job has made as long as
# the key noted beside it is the current one.
#
# Settings that cannot change a result (device, batch size, where the root lies) are read from `config` in the scripts
# and are no params, so that changing them re-runs nothing.

import re
import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "workflow_scripts"))

from attribench.config import load
from attribench.errors import InputError
from attribench.plan import FIGURE_ENDINGS, FIGURES, SAMPLE_FOLDERS, SHEETS, TABLES, Plan

try:
    plan = Plan(load(config), Path(workflow.basedir) / "workflow_scripts", verify=workflow.is_main_process)
except InputError as error:
    raise WorkflowError(str(error))
config["root"] = plan.config.root


def one_of(names):
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    collection=one_of(plan.collections),
    split=one_of(plan.config.splits),
    extractor=one_of(plan.config.extractors),
    variant=one_of(plan.config.variants),
    preprocessing=one_of(sorted(set(plan.preprocessing.values()))),
    shard=r"\d{5}-of-\d{5}",
    table=one_of(TABLES),


def made(path, key):
    """`path` as an input, for input functions: `ancient` while it is what the job with `key` makes.

    What a forced run (`--forceall`, `--forcerun`) makes counts as new.
    """
    forced = workflow.dag_settings.forceall or workflow.dag_settings.forcerun
    return path if forced or not plan.is_current(path, key) else ancient(path)


def outdated(rule_name, pattern):
    """The input function of a job that finds a product of other code, settings or inputs in its place.

    In a clone that made the results itself, Snakemake sees that the key changed. Of results that come from another clone
    it has no record; the key noted beside them tells. The job then gets an input that is newer than anything.
    """

    def newer_file(wildcards):
        path = pattern.format(**wildcards)
        if not Path(path).exists() or plan.is_current(path, plan.key(rule_name, **wildcards)):
            return []
        marker = Path(".snakemake/outdated")
        marker.write_text(str(time.time_ns()))
        return marker

    return newer_file


def job_key(rule_name):
    """The param function that gives a job of the rule its key."""
    return lambda wildcards: plan.key(rule_name, **wildcards)


def manifest_of(collection):
    return made(plan.path("manifest", collection=collection), plan.key("manifest", collection=collection))


def features_of(collection, extractor):
    keys = plan.features_keys(collection, extractor)
    return [made(path, key) for path, key in zip(plan.feature_shards(collection, extractor), keys, strict=True)]


def method_files(kind, split):
    """The rank or metrics files of all methods on `split`."""
    rule_name = {"ranks": "rank"}.get(kind, kind)
    keys = plan.method_keys(rule_name, split)
    paths = [plan.path(kind, split=split, extractor=m.extractor, variant=m.variant) for m in plan.methods]
    return [made(path, key) for path, key in zip(paths, keys, strict=True)]


def collections_from(source):
    """The collections whose features come from `images`, or from `features` that exist already."""
    return one_of([c for c in plan.collections if plan.source(c) == source])


def figure_files(names):
    """The files of a split's figures, with the wildcard {split}."""
    return [plan.pattern("plot").replace("{plot}", name) + ending for name in names for ending in FIGURE_ENDINGS]


def log_file(pattern):
    return f"{plan.config.results}/logs/{pattern}.log"


def benchmark_file(pattern):
    return f"{plan.config.results}/benchmarks/{pattern}.tsv"


def feature_file_of(wildcards):
    return ancient(plan.in_root(plan.feature_file(wildcards.collection, wildcards.extractor)))


def feature_source_of(wildcards):
    about = {"collection": wildcards.collection, "extractor": wildcards.extractor}
    return made(plan.path("feature_source", **about), plan.key("feature_source", **about))


def rendered_files(wildcards):
    """What the manifest needs of the rendered benchmark; given files are looked after by `sources`, not by time."""
    if not plan.rendered:
        return []
    return [made(plan.in_root(folder), plan.key("sample")) for folder in SAMPLE_FOLDERS]


def split_file_of(wildcards):
    if wildcards.collection == plan.database:
        return []
    path = plan.split_file(wildcards.collection)
    return made(path, plan.key("sample")) if plan.rendered else ancient(path)


def ranks_of(wildcards):
    return made(plan.path("ranks", **wildcards), plan.key("rank", **wildcards))


def pixels_of(wildcards):
    preprocessing = plan.preprocessing[wildcards.extractor]
    return plan.path("pixels", collection=wildcards.collection, preprocessing=preprocessing, shard=wildcards.shard)
