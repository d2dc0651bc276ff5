# The checked config, the plan, and the helpers that the rules use.
#
# Staleness. Each job's `key` param is a digest of the code that it runs, the settings that it uses, and the keys of all
# that it reads (workflow_scripts/attribench/identity.py). A job whose product was made with its present key asks for no
# input: neither a time stamp nor a temporary file that is gone can make it run again, and it is the end of the graph. Any
# other job has all its inputs and runs. The key is noted beside the product, so this holds in another clone too.
#
# A job that makes more files than Snakemake is told of: of the shards that one job makes, it is told of the first (see
# `layout.py`); of the rank files of an extractor's variants, of a marker, `ranked`. A rank file has a key of its own, and the
# job makes those that are not current, unless it is forced. So Snakemake neither compares nor removes one.
#
# Given files (split files, images, feature files) are no inputs either: of a job whose input is missing, Snakemake takes
# the old product as good. The stage that reads them records their content (`sources`), and says what is missing.
#
# Settings that cannot change a result (device, batch size, where the root lies) are read from `config` in the scripts
# and are no params, so that changing them re-runs nothing.

import os
import re
import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "workflow_scripts"))

from attribench.errors import InputError
from attribench.lock import note_run, remove_dead_lock
from attribench.config import SCORES, load
from attribench.identity import forget_key
from attribench.layout import FIGURE_ENDINGS, FIGURES, SAMPLE_FOLDERS, TABLES
from attribench.plan import Plan

try:
    plan = Plan(load(config), Path(workflow.basedir) / "workflow_scripts", verify=workflow.is_main_process)
except InputError as error:
    raise WorkflowError(str(error))
config["root"] = plan.config.root

# A run that was killed leaves its lock; starting again is all that a user should have to do.
if workflow.is_main_process:
    remove_dead_lock(".snakemake")


onstart:
    note_run(".snakemake")
    forget_what_is_forced()
    try:
        plan.budget.refuse_what_does_not_fit()
    except InputError as error:
        raise WorkflowError(str(error))


def one_of(names):
    return "|".join(map(re.escape, names)) or "(?!)"


def collections_from(source):
    """The collections whose features come from `images`, or from `features` that exist already."""
    return one_of([c for c in plan.collections if plan.source(c) == source])


wildcard_constraints:
    collection=one_of(plan.collections),
    split=one_of(plan.config.splits),
    extractor=one_of([*plan.config.extractors, *plan.config.score_methods]),
    variant=one_of([*plan.config.variants, SCORES]),
    shard=r"\d+-of-\d+",
    table=one_of(TABLES),


def job_key(rule_name):
    """The param function that gives a job of the rule its key."""
    return lambda wildcards: plan.key(rule_name, **wildcards)


def needs(rule_name, **inputs):
    """The input function of the rule, for `unpack`: `inputs` are functions of the wildcards, by name.

    To products that come from another clone, Snakemake has no record of a key. If it is not the present one, the job gets
    an input that is newer than anything.
    """

    def input_files(wildcards):
        if not may_be_forced() and plan.is_current(rule_name, **wildcards):
            return {}
        files = {name: function(wildcards) for name, function in inputs.items()}
        if plan.is_outdated(rule_name, **wildcards):
            files["outdated"] = newer_than_anything(plan.products(rule_name, **wildcards))
        return files

    return input_files


def is_forced():
    """Whether jobs run though their products are current because the user says so."""
    return workflow.dag_settings.forceall or workflow.dag_settings.forcerun


def may_be_forced():
    """Whether jobs run though their products are current: forced ones, and every job that a run hands to a node."""
    return is_forced() or not workflow.is_main_process


def forget_what_is_forced():
    """Of jobs that are forced, or whose inputs are: forget the keys, which say what is needed wherever a job runs.

    So a ranking job ranks all its variants, and a decoding job gives pixels to all extractors that run again.
    """
    if is_forced():
        for job in workflow.dag.needrun_jobs():
            reason = workflow.dag.reason(job)
            if job.rule.name in ("rank", "extract") and (reason.forced or reason.updated_input_run):
                for path in plan.products(job.rule.name, **job.wildcards_dict):
                    forget_key(path)


def newer_than_anything(products):
    """An input that makes a job run whatever it has made. Of its `products`, those from the future become of the past."""
    now = time.time()
    for path in products:
        if os.path.exists(path) and os.path.getmtime(path) >= now:
            os.utime(path, (now - 1, now - 1))
    marker = Path(".snakemake/outdated")
    marker.write_text(str(time.time_ns()))
    return str(marker)


def downloads_of(paths):
    """The input function for the downloads without which the root lacks some of `paths` (a function of the wildcards)."""
    return lambda wildcards: plan.downloads_for(paths(wildcards))


def log_file(pattern):
    return f"{plan.config.results}/logs/{pattern}.log"


def benchmark_file(pattern):
    return f"{plan.config.results}/benchmarks/{pattern}.tsv"


def rendered_files(wildcards):
    """All that the sample stage makes, where it is what makes the benchmark's images."""
    return plan.products("sample") if plan.rendered else []


def manifest_of(wildcards):
    return plan.path("manifest", collection=wildcards.get("collection", wildcards.get("split")))


def pixels_of(wildcards):
    return plan.path("pixels", collection=wildcards.collection, shard=wildcards.shard)


def preprocessings_of(wildcards):
    return plan.preprocessings(wildcards.collection, wildcards.shard, only_needed=not is_forced())


def decode_inputs(wildcards):
    """The manifest; and what makes the job run though a killed run has left pixels, but not those that are needed now."""
    path, files = pixels_of(wildcards), {"manifest": manifest_of(wildcards)}
    if workflow.is_main_process and Path(path).exists():
        from attribench.shards import holds_pixels

        if not holds_pixels(path, plan.key("decode", **wildcards), preprocessings_of(wildcards)):
            files["outdated"] = newer_than_anything([path])
    return files


def feature_source_of(wildcards):
    return plan.path("feature_source", collection=wildcards.collection, extractor=wildcards.extractor)


def split_features(wildcards):
    return plan.features_asked_for(wildcards.split, wildcards.extractor)


def database_features(wildcards):
    return plan.features_asked_for(plan.database, wildcards.extractor)


def method_files(kind, split):
    """The rank or metrics files of all methods on `split`."""
    return [plan.path(kind, split=split, extractor=m.extractor, variant=m.variant) for m in plan.methods]


def all_files(kind):
    """Those of all splits."""
    return [path for split in plan.config.splits for path in method_files(kind, split)]


# What to ask Snakemake for to have a rank file, those of a split, and all of them. A rule's param says where they lie.


def rank_of(wildcards):
    return plan.rank_asked_for(**wildcards)


def split_ranks(wildcards):
    return plan.ranks_asked_for(wildcards.split)


def all_ranks(wildcards):
    return [path for split in plan.config.splits for path in plan.ranks_asked_for(split)]


def figure_files(rule_name):
    """The files of a split's figures, with the wildcard {split}."""
    return plan.products(rule_name, split="{split}")


def announced_download(wildcards):
    """Of a download no input, or what makes it run again though its marker is there. Shows a line of the table of downloads.

    Snakemake asks while it builds the graph, so the table is there before any job, and with `-n` too.
    """
    if workflow.is_main_process:
        for line in plan.budget.add(wildcards.source, plan.downloads.table[wildcards.source]):
            logger.info(line)
    is_old = Path(plan.download_marker(wildcards.source)).exists()
    return [newer_than_anything([plan.download_marker(wildcards.source)])] if is_old else []
