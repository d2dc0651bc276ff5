"""The rows of a benchmark as a table, as JSON, and as a plot."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from attribench.common.files import atomic_path, write_text
from attribench.plots.style import DPI, MUTED, plot_style
from attribench.rank.device import has_gpu
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from bench.measure import Options, Row

_PACKAGES = ("numpy", "numba", "torch", "timm", "h5py", "pillow", "snakemake", "faiss-cpu")


def amount(row: Row) -> str:
    """Return the value of `row`, to three digits or whole, and its unit."""
    return f"{row.value:,.0f} {row.unit}" if row.value >= 100 else f"{row.value:.3g} {row.unit}"


def table(rows: list[Row]) -> str:
    """Return a Markdown table, one line per row, cases kept together."""
    lines = ["| case | what | value | ratio |", "|---|---|---|---|"]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append(f"| {row.case} | {row.name} | {amount(row)} | {ratio} |")
    return "\n".join(lines)


def write(name: str, rows: list[Row], options: Options) -> list[Path]:
    """Write NAME.json, with the machine and every round, and NAME.png below `options.folder`; their paths."""
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    about = {"benchmark": name, "machine": machine(), "options": vars(options), "rows": [vars(row) for row in rows]}
    write_text(folder / f"{name}.json", json.dumps(about, indent=1) + "\n")
    with plot_style(), atomic_path(folder / f"{name}.png") as temporary:
        _plot(name, rows).savefig(temporary, format="png")
    return [folder / f"{name}.json", folder / f"{name}.png"]


def machine() -> dict:
    """Return what the numbers hold for: processor, matrix instructions, cores, the load at this moment, versions, date."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    about = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    about = {key.strip(): value.strip() for key, value in about.items()}
    flags = set(about.get("flags", about.get("Features", "")).split())
    return {
        "processor": about.get("model name", platform.processor() or platform.machine()),
        "instructions": sorted(flags & {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve"}),
        "cores": os.cpu_count(),
        "gpu": _gpu(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {package: version(package) for package in _PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _gpu() -> str | None:
    if not has_gpu():
        return None
    import torch

    return torch.cuda.get_device_name()


def _plot(name: str, rows: list[Row]) -> Figure:
    """Draw one panel per case, a bar for each contestant's time over the first one's."""
    cases = [case for case in dict.fromkeys(row.case for row in rows) if _compared(rows, case)]
    counts = [len(_compared(rows, case)) for case in cases] or [1]
    figure = Figure(figsize=(7, 0.6 + sum(0.55 + 0.24 * n for n in counts)), dpi=DPI, layout="constrained")
    panels = figure.subplots(len(counts), 1, sharex=True, squeeze=False, height_ratios=[n + 1 for n in counts])
    for axes, case in zip(panels[:, 0], cases, strict=False):
        own = _compared(rows, case)
        axes.barh([row.name for row in own], [row.ratio for row in own], color="#0072B2", height=0.7)
        axes.axvline(1, color=MUTED, linewidth=0.8)
        labels = axes.bar_label(axes.containers[0], [amount(row) for row in own], color=MUTED, fontsize=7, padding=4)
        for label in labels:  # not struck through by the line
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})
        axes.set(title=case)
        axes.margins(x=0.3)
        axes.invert_yaxis()
    ratios = [row.ratio for row in rows if row.ratio]
    if ratios and max(ratios) > 10 * min(ratios):
        panels[0, 0].set_xscale("log")  # of all, which share the axis
        panels[0, 0].xaxis.set_minor_formatter(NullFormatter())
    panels[0, 0].xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panels[-1, 0].set_xlabel("time, over that of each case's first line")
    figure.suptitle(name)
    return figure


def _compared(rows: list[Row], case: str) -> list[Row]:
    return [row for row in rows if row.case == case and row.ratio is not None]
