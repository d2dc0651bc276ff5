# The checked config, the plan, and the helpers that the rules use. Which jobs run again is decided in rules/rerun.smk.
#
# Settings that change at most a feature's last bits (device, batch size, where the root lies) are read from `config` in
# the scripts. They are not params, so changing them re-runs nothing.

import atexit
import os
import re
import shlex
import sys
import time
from datetime import datetime
from functools import cache
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

SCRIPTS = Path(workflow.basedir) / "workflow_scripts"
sys.path.insert(0, str(SCRIPTS))

from attribench import decode, extract, import_features, manifest, overlap, rank, sample, tune
from attribench.common.errors import InputError
from attribench.common.files import is_refused, reason, sha256_file
from attribench.common.folders import left_out_text
from attribench.common.text_files import check_config_file
from attribench.decode.decode import unreadable
from attribench.decode.reading import is_over_another_limit
from attribench.formats.ranking import SCORES
from attribench.formats.shards import invalid_images
from attribench.gallery.page import page_texts
from attribench.plan.config import load, own_features, refuse_empty, with_sections
from attribench.plan.config_files import default_settings
from attribench.plan.described import described_collections, described_extractors, described_methods
from attribench.plan.labels import method_of_sheet, refuse_unknown_queries
from attribench.plan.lock import Locks
from attribench.plan.paths import FIGURES
from attribench.plan.plan import Plan
from attribench.plots.letters import letters_in_logs, without_font_text
from attribench.provenance.keys import carried_key, code_digest, digest, is_current, key_of, was_made_here
from attribench.report import TEMPLATES

# A run's jobs inherit this variable, on another node too. They take given files to be as the run found them.
IS_JOB = "ATTRIBENCH_RUN" in os.environ


def refuse(message):
    """End with the message alone: an error of Snakemake's would name lines of the rules, which the user cannot mend."""
    logger.error(f"Error: {message}")
    sys.exit(1)


def without_traceback(work):
    """Call `work`, and refuse bad input with its message."""
    try:
        return work()
    except InputError as error:
        refuse(error)
    except OSError as error:
        if is_refused(error):
            refuse(f"{error.filename}: {reason(error)}; expected a path that may be read, and written where results go")
        raise


if not IS_JOB:
    without_traceback(lambda: refuse_empty(workflow.config_settings.config))
# Snakemake's own reader takes the last of two equal keys; files that it was given on the command line are among these.
for file in [] if IS_JOB else workflow.configfiles:
    without_traceback(lambda: check_config_file(file))
# Snakemake has merged keys with dots beside the sections that they belong to.
given = [*map(load_configfile, workflow.config_settings.configfiles), workflow.config_settings.config]
for settings in given:
    update_config(config, without_traceback(lambda: with_sections(settings)))
for key in [key for key in config if "." in str(key)]:
    del config[key]
plan = without_traceback(lambda: Plan(load(config), trust_records=IS_JOB))
# Scripts read it: checked, with `~` and the defaults of the benchmark filled in.
config.update(plan.config.model_dump(mode="json"))
# Not a param of the report, which they do not make again.
config["default_settings"] = default_settings(config)

if not IS_JOB:
    checks = (plan.refuse_missing_files, plan.refuse_other_weights, plan.refuse_other_results, plan.refuse_large_sizes)
    for check in (*checks, plan.refuse_split_images_in_database):
        without_traceback(check)
    for line in plan.left_out:
        logger.info(f"Left out: {line}")
    locks = Locks(".snakemake")
    locks.settle()
    os.environ["ATTRIBENCH_RUN"] = str(os.getpid())


envvars:
    "ATTRIBENCH_RUN",


onstart:
    for note in (locks.note_run, plan.note_touched_files, plan.note_results, plan.budget.refuse_if_too_large):
        without_traceback(note)
    if not IS_JOB and plan.budget.table:
        logger.info(plan.budget.table)
    without_traceback(refuse_unfit_networks)


# Of jobs that can use several. Those of the sample mostly load libraries: on one core each they end sooner, and the last digits
# do not depend on the number of cores.
THREADS = 1 if plan.rendered else 8


def one_of(names):
    return "|".join(map(re.escape, names)) or "(?!)"


def collections_from(origin):
    """Return a pattern of the collections whose features come from `images`, or are `features` that exist already.

    Which these are depends on the extractor, whose name the path has next: the pattern looks ahead to it.
    """
    names = {c: plan.extractors_of(c, origin) for c in plan.collections}
    return "|".join(f"{re.escape(c)}(?=/(?:{one_of(names[c])})/)" for c in names if names[c]) or "(?!)"


wildcard_constraints:
    collection=one_of(plan.collections),
    split=one_of(plan.config.splits),
    extractor=one_of([*plan.config.extractors, *plan.config.score_methods]),
    variant=one_of([*plan.config.variants, SCORES]),
    shard=r"\d+-of-\d+",


def log_file(pattern):
    return f"{plan.config.results}/logs/{pattern}.log"


def benchmark_file(pattern):
    return f"{plan.config.results}/benchmarks/{pattern}.tsv"


def in_snakemake_report(path, category, caption, **labels):
    """Return an output that Snakemake's own report shows with a caption of `captions/`."""
    return report(path, caption=f"{workflow.basedir}/captions/{caption}.rst", category=category, labels=labels)


def figures_in_snakemake_report(paths, split="{split}"):
    """Return the files of figures as outputs, of which the report shows the drawings."""

    def shown(path):
        figure = os.path.basename(path).removesuffix(".svg").removeprefix(f"{split}_")
        return in_snakemake_report(path, "Figures", f"figures/{figure}", figure=figure, split=split)

    return [shown(path) if path.endswith(".svg") else path for path in paths]


def manifest_of(collection):
    return plan.path("manifest", collection=collection)


def left_out_of(collection):
    return plan.path("left_out", collection=collection)


def label_rows():
    """Return what tables and figures call each method: [extractor, variant, label]."""
    return [[*method, label] for method, label in plan.labels.items()]


def figure_params():
    """Return how figures look, as `plots.figure_settings.FigureSettings` takes it."""
    return plan.config.plots.model_dump(include={"width", "title", "order"})


def listing_inputs(collection):
    """Return what says which images a shard holds: the manifest, and the record of how it is cut."""
    return {"manifest": manifest_of(collection), "fingerprints": plan.path("fingerprints", collection=collection)}


def given_inputs(paths):
    """Return the inputs for given files below the root, and for the records of downloads that brought or will bring them."""
    records = [plan.downloads.record_path(source) for source in plan.downloads.sources_of(paths)]
    return {"given": [plan.in_root(path) for path in paths], "downloads": records}
