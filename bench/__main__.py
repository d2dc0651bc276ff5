"""Run benchmarks: python -m bench [NAME ...] [--scale X] [--threads N] [--clock cpu] [--large]."""

import argparse
import importlib
import os
import subprocess
import sys
from collections.abc import Callable

# Modules with a list BENCHMARKS of functions (Options) -> rows. Each gets its table, its JSON and its plot.
NAMES = ["ranking", "extraction", "decode", "shards", "tuning", "demo", "workflow", "scale"]


def main() -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure what this machine reaches.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all of them by default")
    parser.add_argument("--scale", type=_positive(float), default=1.0, help="more or less data than the default (1)")
    parser.add_argument("--rounds", type=_positive(int), default=5, help="measured rounds, after one to warm up (5)")
    parser.add_argument("--threads", type=_positive(int), default=cores, help=f"threads of every contestant ({cores})")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: for a machine that others use")
    parser.add_argument("--large", action="store_true", help="also what takes long and needs 16 GB of disk")
    parser.add_argument("--folder", default="results/bench", help="where JSON, plots and large files go")
    chosen = vars(parser.parse_args())
    names = chosen.pop("names") or NAMES
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        parser.error(f"{unknown[0]} is no benchmark; expected {', '.join(NAMES)}")
    options = [argument for argument in sys.argv[1:] if argument not in names]
    if len(names) > 1:  # each in a process of its own: what a library is told when it is loaded differs
        for name in names:
            subprocess.run([sys.executable, "-m", "bench", name, *options], check=True)
        return
    for library in ("OMP", "OPENBLAS", "MKL"):  # read when the libraries are loaded, so nothing is imported before
        os.environ[f"{library}_NUM_THREADS"] = str(chosen["threads"])
    run(names[0], chosen)


def _positive(kind: type) -> Callable:
    """Return what turns an option's text into a number above 0 of `kind`."""

    def number(text: str):
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value

    number.__name__ = f"{kind.__name__} above 0"  # argparse names it: "invalid … value"
    return number


def run(name: str, chosen: dict) -> None:
    """Run the benchmark `name` with the options `chosen`, print its table, and write its files."""
    from bench import report
    from bench.measure import Options

    options, rows = Options(**chosen), []
    for benchmark in importlib.import_module(f"bench.{name}").BENCHMARKS:
        for row in benchmark(options):
            print(f"{row.case}: {row.name}: {report.amount(row)}", flush=True)
            rows.append(row)
    print(f"\n{report.table(rows)}\n")
    print(*report.write(name, rows, options), sep="\n")


if __name__ == "__main__":
    main()
