"""A clone of the repository in a temporary folder, and the workflow run in it as a user would."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import lru_cache
from pathlib import Path

import yaml
from helpers.snakemake_server import Server

REPOSITORY = Path(__file__).parents[2]
LIBRARY = "workflow_scripts/attribench"

# The target of tests that look at no figure, which take a third of a tiny run's time: all tables are one job's.
SUMMARY = ("results/tables/summary.csv",)
RULES = ("features", "ranks", "download", "trec")  # that tests give as targets

# The sample benchmark, as small as it can be and still have everything in it.
TINY = {
    "extractors": ["tiny", "color"],
    "variants": ["pretrained"],
    "influence": False,
    "device": "cpu",
    "batch_size": 8,
    "database_shards": 1,
    "bootstrap": {"samples": 200},
    "contact_sheet": {"queries": 2, "neighbours": 4},
    "gallery": {"queries": 4, "neighbours": 4},
    "sample": {
        "image_size": 48,
        "style_entries": {"test": 3, "train": 1, "val": 1},
        "object_entries": {"test": 3, "train": 1, "val": 1},
        "max_exemplars": 3,
        "queries_per_prompt": 2,
        "database_images": 20,
    },
    "extractor_registry": {
        "tiny": {
            "library": "python",
            "model": f"{REPOSITORY}/tests/helpers/tiny_network.py:tiny",
            "resize": 48,
            "crop": 48,
            "interpolation": "bicubic",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
        "color": {"library": "color", "resize": 48, "crop": 48, "interpolation": "bicubic"},
    },
}


@lru_cache
def server() -> Server:
    """This process's Snakemake, which is loaded when it is first needed."""
    return Server()


class Clone:
    """Hold a clone at `folder`, whose runs use the config `settings` over the defaults.

    targets: what its runs make that are given no target; none: what `all` names.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict | None = None,
        copy_from: "Clone | None" = None,
        open_only: bool = False,
        targets: tuple[str, ...] = (),
    ):
        self.folder, self.targets = folder, targets or (copy_from.targets if copy_from else ())
        if open_only:
            return
        if copy_from:
            shutil.copytree(copy_from.folder, folder, dirs_exist_ok=True, symlinks=True)
            return
        for name in tracked_files():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
        for compiled in (REPOSITORY / LIBRARY).glob("*/__pycache__/*.nb?"):  # numba's: compiling takes a while
            target = folder / compiled.relative_to(REPOSITORY)
            target.parent.mkdir(exist_ok=True)
            shutil.copy2(compiled, target)
        self.configure(settings or {})

    def configure(self, settings: dict) -> None:
        """Write the config file that later runs use."""
        (self.folder / "mine.yaml").write_text(yaml.safe_dump(settings))

    def command(self, *arguments: str, config: dict | None = None) -> list[str]:
        """Return the command line of a run; `config` are pairs for `--config`."""
        return [sys.executable, "-m", "snakemake", *self.arguments(*arguments, config=config)]

    def arguments(self, *arguments: str, config: dict | None = None) -> list[str]:
        """Return the arguments for Snakemake."""
        pairs = [f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in (config or {}).items()]
        pairs = [pair.replace("\n...", "").strip() for pair in pairs]
        given = ["--config", *pairs] if pairs else []
        has_target = any(part in RULES or part.startswith("results/") for part in arguments)
        return [*([] if has_target else self.targets), "--configfile", "mine.yaml", *arguments, *given]

    def run(self, *arguments: str, config: dict | None = None, timeout: float = 600, check: bool = True):
        """Run Snakemake, on two cores unless the arguments say otherwise; the finished process, output in `stdout`."""
        if not {"-n", "--cores", "-c1", "--profile", "--unlock"} & set(arguments):
            arguments = ("--cores", "2", *arguments)
        environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
        done = server().run(self.arguments(*arguments, config=config), self.folder, environment, timeout)
        if check and done.returncode:
            raise AssertionError(f"exit status {done.returncode} of {' '.join(arguments)}:\n{done.stdout[-6000:]}")
        return done

    def planned(self, config: dict | None = None, *arguments: str) -> Counter:
        """Return how many jobs of each rule a run would have, `all` aside."""
        return planned_jobs(self.run("-n", *arguments, config=config).stdout)

    def results(self, *patterns: str) -> dict[str, bytes]:
        """Content of the files below results/ that match `patterns`."""
        top = self.folder / "results"
        return {
            str(path.relative_to(top)): path.read_bytes()
            for pattern in patterns
            for path in sorted(top.glob(pattern))
            if path.is_file()
        }

    def tables(self) -> dict[str, bytes]:
        """Return the tables and the data of the plots."""
        return self.results("tables/*.csv", "plots/*.csv")


def planned_jobs(output: str) -> Counter:
    """Return the job counts of a dry run's `Job stats` table."""
    if "Nothing to be done" in output:
        return Counter()
    table = re.search(r"^job +count\n[- ]+\n(.*?)^total", output, re.MULTILINE | re.DOTALL)
    assert table, output[-3000:]
    counts = Counter({name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table[1], re.MULTILINE)})
    del counts["all"]
    return counts


def tracked_files() -> list[str]:
    """Return the files that a clone has: those that git tracks, and new ones that it does not ignore."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in names if (REPOSITORY / name).is_file()]
