"""Nothing stale, nothing needless: every config key and every package, and exactly the jobs that a change of it affects.

Each case is a dry run in a clone where the tiny benchmark has run; the jobs planned are those that Snakemake would run.
"""

import copy
import os
import re
import shutil
from pathlib import Path

import h5py
import pytest
import torch
from attribench.plan.settings import Settings
from attribench.tables.published import Number
from helpers.clone import REPOSITORY, SUMMARY, TINY, Clone
from helpers.jobs import FROM_DECODE, FROM_RANK, NOTHING, RESULTS, WHOLE, jobs, jobs_from

pytestmark = pytest.mark.workflow


def registry(**changes):
    """Return the tiny registry with another `tiny`."""
    entries = TINY["extractor_registry"]
    return {**entries, "tiny": {**entries["tiny"], **changes}}


def case(key, value, expected, name=""):
    """Return a parameter set: a config key, its new value, and the jobs that run again."""
    return pytest.param(key, value, expected, id=f"{key}-{name or value}")


WRITTEN = ["tables", "paper_tables", "plots", "report"]  # what is made of metrics
OF_ONE = dict(decode=3, extract=3, rank=2, metrics=2)  # jobs of one extractor before the results
SOURCE = {"benchmark": "sample", "kind": "http", "url": "http://127.0.0.1:9/", "files": ["a.tar"], "unpack": "tar",
          "provides": ["dataset/"], "licence": "", "unlocks": ""}  # fmt: skip
KEYS = [
    case("device", "auto", NOTHING),
    case("batch_size", 3, NOTHING),
    case("compile", True, jobs(*RESULTS, **OF_ONE)),  # nor is the colour histogram compiled
    case("compile", "false", NOTHING),  # as `--config` gives it
    case("precision", "bf16", jobs(*RESULTS, **OF_ONE)),  # the colour histogram has one precision
    case("compare_precisions", ["bf16"], jobs(*RESULTS, **OF_ONE)),
    case("recall_ks", [1, 5], jobs("metrics", *WRITTEN)),
    case("recall_ks", [100, 10, 5], NOTHING),
    case("top_k", 7, jobs(*FROM_RANK)),
    # The val splits are ranked too, and the distribution of all scores is new.
    case("influence", True, jobs(*FROM_RANK, manifest=2, decode=2, extract=4, rank=8, calibrate=2, influence=4,
         influence_table=1, influence_plots=2)),
    case("contact_sheet", {"queries": 2, "neighbours": 4, "choose": "worst"}, jobs("contact", "report"), "choice"),
    case("contact_sheet", {"queries": 2, "neighbours": 4, "method": "tiny_pretrained"}, NOTHING, "first-method"),
    case("plots", {"width": 6}, jobs("plots", "contact", "report"), "width"),
    case("plots", {"labels": {"color": "Colours"}}, jobs(*RESULTS), "labels"),
    case("gallery", {"queries": 3, "neighbours": 4}, jobs("gallery_split", "gallery"), "queries"),
    case("bootstrap", {"samples": 300}, jobs(*WRITTEN), "samples"),
    case("bootstrap", {"samples": 200, "seed": 1}, jobs(*WRITTEN), "seed"),
    case("contact_sheet", {"queries": 3, "neighbours": 4}, jobs("contact", "report"), "queries"),
    case("database_shards", 3, jobs(*FROM_RANK, decode=3, extract=6)),
    case("split_shards", 2, jobs(*FROM_RANK, decode=4, extract=8)),
    case("database_limit", 10, jobs(*FROM_RANK, manifest=1)),  # of the features that are there, the first are ranked
    case("database_limit", 20, NOTHING),  # as many as there are
    case("invalid_images", "quarantine", NOTHING),
    case("max_pixels", 300_000_000, NOTHING),
    case("exif", "apply", jobs(*FROM_DECODE)),
    case("extractors", ["color"], jobs(*RESULTS)),
    case("extractors", ["color", "tiny"], jobs(*RESULTS)),
    case("splits", ["sample_style"], jobs(*WRITTEN, plots=1, gallery=1)),
    case("splits", ["sample_style", "sample_object", "sample_style_val"],
         jobs(*WRITTEN, manifest=1, decode=1, extract=2, rank=2, metrics=2, plots=3, contact=1, gallery_split=1, gallery=1),
         "one-more"),
    case("results", "elsewhere", jobs_from("manifest")),
    case("root", "moved", NOTHING),
    case("sample", {**TINY["sample"], "seed": 1}, WHOLE, "seed"),
    case("sample", {**TINY["sample"], "database_images": 21}, WHOLE, "images"),
    case("extractor_registry", registry(seed=1), jobs(*RESULTS, **OF_ONE), "seed"),
    case("extractor_registry", registry(precision="bf16"), jobs(*RESULTS, **OF_ONE), "bf16"),
    case("extractor_registry", registry(precision="float32"), NOTHING, "float32"),
    case("extractor_registry", registry(label="Tiny"), jobs(*RESULTS), "label"),
    case("extractor_registry", {**registry(), "unused": {"library": "timm", "model": "x"}}, NOTHING, "unused"),
    case("download", {"retries": 0, "keep_archives": True}, NOTHING, "retries"),
    case("sources", {"images": SOURCE}, NOTHING, "one-more"),
    case("benchmarks", {"sample": {"extractors": ["color"]}}, NOTHING, "extractors"),
    case("variants", ["pretrained"], NOTHING),
    case("published_numbers", None, NOTHING),  # as the file that is there, which states none
    case("published_numbers", "one_number.csv", jobs("tables", "report")),
    case("published_numbers", "other_runs.csv", NOTHING),
    case("variant_registry", {"unused": {"mapper": "weights/unused.pth"}}, NOTHING, "unused"),
    case("missing_variants", "skip", NOTHING),
    case("database_sizes", [5], jobs(*FROM_RANK)),
    case("hard_negatives", True, jobs(*FROM_RANK)),
    case("near_duplicates", 0.9, jobs(*FROM_RANK)),
]  # fmt: skip
# Keys that a dry run here cannot vary, and the test that varies them.
ELSEWHERE = {
    "calibration_splits": "test_tune_workflow.py",
    "database_source": "test_import_workflow.py",
    "split_source": "test_import_workflow.py",
    "score_methods": "test_score_workflow.py",
    "score_registry": "test_score_workflow.py",
    "benchmark": "test_results_folders.py",
    "tune": "test_tune_workflow.py",
    "features": "test_results_folders.py",
}

# The stages that run again when every module of a package changes, or one beside the packages; those after them as well.
EVALUATION = ["metrics", "tables", "paper_tables", "plots", "contact", "gallery_split", "gallery", "report"]
PACKAGES = {
    "common": EVALUATION,
    "provenance": EVALUATION,
    "formats": EVALUATION,
    "plan": [],
    "download": [],
    "sample": [],
    "manifest.py": ["contact", "gallery_split"],
    "decode": ["contact", "gallery_split"],
    "extract": [],
    "import_features.py": [],
    "tune": [],
    "calibrate": [],
    "influence.py": [],
    "overlap.py": [],
    "rank": [],
    "rank_scores.py": [],
    "metrics.py": ["metrics", "contact", "gallery_split"],
    "tables": ["tables", "contact"],
    "plots": ["paper_tables", "plots", "contact", "gallery_split"],
    "contact.py": ["contact"],
    "gallery": ["gallery_split", "gallery"],
    "paper_tables.py": ["paper_tables"],
    "report": ["report"],
    "trec.py": [],
    "demo": [],
}
# The stages of which a number counts in place of their code, and where it stands.
VERSIONS = {
    "sample": "sample/__init__.py",
    "manifest": "manifest.py",
    "decode": "decode/__init__.py",
    "extract": "extract/__init__.py",
    "rank": "rank/__init__.py",
}


@pytest.fixture(scope="module")
def clone(finished, tmp_path_factory):
    """A clone for dry runs, which leave it as it is."""
    clone = Clone(tmp_path_factory.mktemp("staleness") / "clone", copy_from=finished)
    shutil.copytree(clone.folder / "resources/sample", clone.folder / "moved")
    for name, extractor in (("one_number", "color"), ("other_runs", "clip")):
        number = f"sample,sample_style,gpt,{extractor},pretrained,mAP,0.5,0.1,a paper\n"
        (clone.folder / f"{name}.csv").write_text(",".join(Number._fields) + "\n" + number)
    return clone


@pytest.fixture
def library(clone):
    """The library of the clone, which is put back after the test."""
    folder = clone.folder / "workflow_scripts"
    kept = {path: path.read_bytes() for path in folder.rglob("*.py")}
    yield folder / "attribench"
    for path, content in kept.items():
        path.write_bytes(content)


def test_every_config_key_is_tried():
    assert {parameters.values[0] for parameters in KEYS} | set(ELSEWHERE) == set(Settings.model_fields)
    assert all((Path(__file__).parent / name).exists() for name in ELSEWHERE.values())


def test_the_page_on_configuring_says_where_a_change_begins():
    page = (REPOSITORY / "docs/configuring.md").read_text().split("## What a change runs again")[1]
    rows = re.findall(r"^\| (`.*?`) \| `?(\w+)", page, re.MULTILINE)
    assert len(rows) == 9
    for keys, stage in rows:
        for key in re.findall(r"`(\w+)`", keys):
            expected = [parameters.values[2] for parameters in KEYS if parameters.values[0] == key]
            first = {next(name for name in WHOLE if name in jobs) for jobs in expected if jobs}
            assert expected and first == ({stage} - {"nothing"}), key


def test_every_package_is_tried():
    library = REPOSITORY / "workflow_scripts/attribench"
    names = {path.relative_to(library).parts[0] for path in library.rglob("*.py")}
    assert set(PACKAGES) | {"__init__.py"} == names
    assert {path.stem for path in library.parent.glob("*.py")} == {
        *WHOLE, "download", "fingerprint", "import_features", "rank_scores", "trec", "tune", "overlap", "learning_curves",
        "calibrate", "influence", "influence_table", "influence_plots", "demo",
    }  # fmt: skip


@pytest.mark.parametrize(("key", "value", "expected"), KEYS)
def test_a_config_key_re_runs_exactly_what_it_affects(clone, key, value, expected):
    clone.configure({**copy.deepcopy(TINY), key: value})
    planned = clone.planned()
    clone.configure(TINY)
    assert planned == expected


@pytest.mark.parametrize(("name", "stages"), PACKAGES.items())
def test_a_package_re_runs_exactly_the_cheap_stages_that_use_it(clone, library, name, stages):
    """The stages that take long, and those that they hang on, are made anew when their `VERSION` is raised, not before."""
    for path in (library / name).rglob("*.py") if (library / name).is_dir() else [library / name]:
        path.write_bytes(path.read_bytes() + b"\n# changed\n")
    assert clone.planned() == jobs_from(*stages)


@pytest.mark.parametrize("stage", WHOLE)
def test_a_script_counts_where_its_stage_is_cheap(clone, library, stage):
    script = library.parent / f"{stage}.py"
    script.write_bytes(script.read_bytes() + b"\n# changed\n")
    assert clone.planned() == (jobs_from(stage) if stage in EVALUATION else NOTHING)


@pytest.mark.parametrize("stage", VERSIONS)
def test_a_raised_version_re_runs_the_stage_and_what_follows(clone, library, stage):
    path = library / VERSIONS[stage]
    text, changes = re.subn(r"^VERSION = (\d+)$", lambda m: f"VERSION = {m[1]}0", path.read_text(), flags=re.MULTILINE)
    assert changes == 1
    path.write_text(text)
    assert clone.planned() == jobs_from(stage)


def test_only_the_pixels_that_are_needed_are_decoded(clone):
    """For another extractor its own preprocessing; when an image changed, those of all."""
    entries = TINY["extractor_registry"]
    other = {**entries["tiny"], "resize": 40, "crop": 32}
    clone.configure({**TINY, "extractors": ["tiny", "other"], "extractor_registry": {**entries, "other": other}})
    for config, expected in (({}, "bicubic-40-32"), ({"database_shards": 2}, "bicubic-40-32 bicubic-48-48")):
        output = clone.run("-n", config=config).stdout
        shards = config.get("database_shards", 1)
        assert f"Decoding sample_database 00000-of-0000{shards} ({expected})" in output
    assert "Decoding sample_style 00000-of-00001 (bicubic-40-32)" in output
    clone.configure(TINY)


def test_another_extractor_is_the_only_one_that_runs(clone):
    entries = TINY["extractor_registry"]
    other = {**entries["tiny"], "seed": 1}
    extractors = {"extractors": ["tiny", "color", "other"], "extractor_registry": {**entries, "other": other}}
    clone.configure({**TINY, **extractors})
    assert clone.planned() == jobs(*RESULTS, **OF_ONE)
    clone.configure(TINY)


def test_the_last_of_config_files_and_command_line_counts_however_a_key_is_written(clone, tmp_path):
    wrong, right = tmp_path / "wrong.yaml", tmp_path / "right.yaml"
    wrong.write_text("bootstrap.samples: 5\n")
    right.write_text("bootstrap: {samples: 200}\n")

    def fault(*files, pairs=()):
        done = clone.run("-n", "--configfile", *map(str, files), *(["--config", *pairs] if pairs else []), check=False)
        assert bool(done.returncode) == ("key `bootstrap.samples`: found 5; expected a whole number" in done.stdout)
        return bool(done.returncode)

    assert fault(wrong) and fault(right, wrong)
    assert not fault(wrong, right) and not fault(wrong, pairs=["bootstrap={samples: 200}"])


def test_touching_every_file_re_runs_nothing(finished_copy):
    for number, path in enumerate(sorted(finished_copy.folder.rglob("*"), key=lambda path: path.name)):
        if path.is_file():
            os.utime(path, (2e9 - number, 2e9 - number))
    assert finished_copy.planned() == NOTHING


def test_results_in_a_fresh_clone_re_run_nothing(finished, tmp_path):
    """Copied without their time stamps, and without Snakemake's own records."""
    clone = Clone(tmp_path / "clone", TINY)
    for folder in ("results", "resources"):
        shutil.copytree(finished.folder / folder, clone.folder / folder, copy_function=shutil.copyfile)
    assert clone.planned() == NOTHING


def test_results_of_other_settings_in_a_fresh_clone_are_refused_by_name(finished, tmp_path):
    """Snakemake would keep them: it has no record of their keys."""
    clone = Clone(tmp_path / "clone", {**TINY, "recall_ks": [1, 5]})
    for folder in ("results", "resources"):
        shutil.copytree(finished.folder / folder, clone.folder / folder, copy_function=shutil.copyfile)
    refused = clone.run("-n", check=False)
    assert refused.returncode != 0
    assert "results/metrics/sample_style/tiny/pretrained.csv (key " in refused.stdout
    removal = re.search(r"rm -r (.*)", refused.stdout)[1].split()
    while removal:
        for path in removal:
            (clone.folder / path).unlink()
        output = clone.run("-n", check=False).stdout
        removal = re.search(r"rm -r (.*)", output)[1].split() if "rm -r " in output else []
    assert clone.planned() == jobs("metrics", *WRITTEN)
    clone.run(*SUMMARY)
    assert clone.planned(None, *SUMMARY) == NOTHING


@pytest.mark.parametrize(
    ("name", "consumer"),
    [
        ("features/sample_style/color/00000-of-00001.h5", "results/ranks/sample_style/color/pretrained.h5"),
        ("ranks/sample_style/color/pretrained.h5", "results/metrics/sample_style/color/pretrained.csv"),
        ("metrics/sample_style/color/pretrained.csv", "results/tables/summary.csv"),
        ("manifests/sample_style.csv", "results/ranks/sample_style/color/pretrained.h5"),
    ],
    ids=["features", "ranks", "metrics", "manifest"],
)
def test_a_foreign_file_is_refused_by_name_by_whoever_reads_it(finished_copy, name, consumer):
    """A file of another split has the right name, and Snakemake's records say that all is well."""
    folder = finished_copy.folder / "results"
    shutil.copyfile(folder / name.replace("style", "object"), folder / name)
    (finished_copy.folder / consumer).unlink()
    refused = finished_copy.run(consumer, check=False)
    assert refused.returncode != 0
    assert f"results/{name}: was made with other settings, other data or another version" in refused.stdout
    assert not (finished_copy.folder / consumer).exists()


def test_a_changed_image_re_runs_its_collection(finished_copy):
    root, finished_copy.targets = finished_copy.folder / "resources/sample/dataset", SUMMARY
    one, other = sorted(Path(root / "database").rglob("*.jpg"))[:2]
    one.write_bytes(other.read_bytes())
    assert finished_copy.planned() == jobs("rank", "metrics", "tables", manifest=1, decode=1, extract=2)
    before = finished_copy.tables()
    finished_copy.run()
    assert finished_copy.planned() == NOTHING
    assert finished_copy.tables() != before


def save_mapper(clone, path, factor):
    """Write a channel mapper for the features of `color`, below the root."""
    with h5py.File(clone.folder / "results/features/sample_style/color/00000-of-00001.h5") as file:
        weights = torch.ones(1, file["features"].shape[1])
    path = clone.folder / "resources/sample" / path
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"real_mapper": {"weights": weights}, "synth_mapper": {"weights": weights * factor}}, path)


def test_a_mapper_re_runs_what_it_maps(finished_copy):
    """The first variant with a mapper, another path to the same one, another order, another one, and then none."""
    finished_copy.targets = SUMMARY
    settings = {**TINY, "variants": ["pretrained", "scaled"], "extractors": ["color"]}
    finished_copy.configure({**settings, "variant_registry": {"scaled": {"mapper": "weights/{extractor}.pth"}}})
    assert "expected it, or `missing_variants: skip`" in finished_copy.run("-n", check=False).stdout
    save_mapper(finished_copy, "weights/color.pth", 1)
    assert finished_copy.planned() == jobs("tables", rank=2, metrics=2)
    before = finished_copy.results("ranks/*/color/pretrained.h5")
    finished_copy.run()
    assert finished_copy.results("ranks/*/color/pretrained.h5") == before
    assert finished_copy.planned() == NOTHING
    save_mapper(finished_copy, "weights/other/color.pth", 1)
    moved = {**settings, "variant_registry": {"scaled": {"mapper": "weights/other/{extractor}.pth"}}}
    finished_copy.configure(moved)
    assert finished_copy.planned() == NOTHING
    assert finished_copy.planned({"variants": ["scaled", "pretrained"]}) == jobs("tables")
    assert finished_copy.planned({"variants": ["scaled"]}) == jobs("tables")
    assert finished_copy.planned({"top_k": 7}) == jobs("tables", rank=4, metrics=4)
    save_mapper(finished_copy, "weights/other/color.pth", 2)
    assert finished_copy.planned() == jobs("tables", rank=2, metrics=2)
    finished_copy.run("ranks")
    (finished_copy.folder / "resources/sample/weights/other/color.pth").unlink()
    finished_copy.configure({**moved, "missing_variants": "skip"})
    assert finished_copy.planned() == jobs("tables")
    finished_copy.run("results/tables/missing_variants.csv")
    table = (finished_copy.folder / "results/tables/missing_variants.csv").read_text()
    assert table == "extractor,variant,file\ncolor,scaled,weights/other/color.pth\n"


@pytest.mark.parametrize(
    ("stage", "expected"),
    [("extract", jobs(*FROM_DECODE)), ("rank", jobs(*FROM_RANK)), ("plots", jobs("plots", "report"))],
)
def test_a_forced_stage_takes_the_later_ones_with_it(clone, stage, expected):
    assert clone.planned(None, "--forcerun", stage) == expected


def test_extraction_can_be_forced_while_another_extractor_is_to_run(finished_copy):
    """Then those whose features are there ask for no pixels, and decode for themselves."""
    before = finished_copy.results("features/*/color/*.h5")
    finished_copy.configure({**TINY, "extractor_registry": registry(seed=1)})
    finished_copy.run("features", "--forcerun", "extract")
    assert finished_copy.results("features/*/color/*.h5") == before
    assert finished_copy.planned(None, "features") == NOTHING
