# attribench: the evaluation of data attribution for text-to-image models.
#
#   download         resources/<benchmark>/ fetch the given files that are missing (sources.yaml)
#   sample           resources/sample/     draw the sample benchmark (benchmark: sample only)
#   manifest         results/manifests/    list each collection's images: a split's, the database's
#   decode           results/pixels/       images -> pixels, once for each distinct preprocessing (temporary)
#   extract          results/features/     pixels -> feature shards
#   import_features  results/features/     or: existing feature files -> feature shards
#   tune             results/mappers/      mappers learned from the features of training splits
#   overlap          results/overlap/      refuses images that are tuned on and evaluated too
#   rank             results/ranks/        exact rank of every exemplar, and the nearest neighbours
#   rank_scores      results/ranks/        or: the same from a method's scores
#   calibrate        results/calibrators/  the two numbers that turn scores into influence, fitted to val splits
#   influence        results/influence/    influence of each query's images; its table, and figures (if `influence` is true)
#   metrics          results/metrics/      average precision and recall of every query
#   tables           results/tables/       CSV tables with intervals
#   paper_tables     results/tables/latex/ the tables of a paper, in LaTeX and Markdown
#   plots, contact   results/plots/        figures, and contact sheets of queries with their neighbours
#   gallery          results/gallery/      a page of queries and what two methods rank nearest to them (opened from disk)
#   report           results/report.html   one page: the answer, tables, figures, queries, and how it was made
#   trec             results/trec/         rankings and relevance in TREC's formats (a target of its own)
#
# A stage's rule is in rules/STAGE.smk, its script in workflow_scripts/STAGE.py, its work in workflow_scripts/attribench/.

from snakemake.utils import min_version

min_version("9.27")


# Beside this file, whatever the working folder is.
configfile: f"{workflow.basedir}/config.yaml"
configfile: f"{workflow.basedir}/benchmarks.yaml"
configfile: f"{workflow.basedir}/extractors.yaml"
configfile: f"{workflow.basedir}/variants.yaml"
configfile: f"{workflow.basedir}/sources.yaml"


include: "rules/common.smk"
include: "rules/rerun.smk"
include: "rules/sample.smk"
include: "rules/manifest.smk"
include: "rules/decode.smk"
include: "rules/extract.smk"
include: "rules/import_features.smk"
include: "rules/tune.smk"
include: "rules/overlap.smk"
include: "rules/rank.smk"
include: "rules/rank_scores.smk"
include: "rules/calibrate.smk"
include: "rules/influence.smk"
include: "rules/metrics.smk"
include: "rules/tables.smk"
include: "rules/paper_tables.smk"
include: "rules/plots.smk"
include: "rules/contact.smk"
include: "rules/gallery.smk"
include: "rules/report.smk"
include: "rules/trec.smk"
include: "rules/download.smk"


localrules:
    all,
    features,
    ranks,


rule all:
    default_target: True
    input:
        plan.targets(),


rule features:
    input:
        [path for c in plan.collections for e in plan.extractors_for(c) for path in plan.features(c, e)],


rule ranks:
    input:
        plan.files_of_splits("ranks"),


check_results()
