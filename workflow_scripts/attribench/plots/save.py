"""Save a plot as PNG, SVG, PDF, CSV and text: the same bytes on every run, each file whole or not there."""

import base64
import io
import logging
import re
from pathlib import Path

from fontTools.subset import Options
from PIL import Image

from attribench.common.files import atomic_path, write_text
from attribench.common.tables_io import write_table
from attribench.plots.fonts import use_fonts_for_all_letters
from attribench.plots.plot import Plot
from attribench.plots.style import plot_style

_EMBEDDED_PNG = re.compile(rb"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)")
_JPEG_QUALITY = 86
# Tables by which letters are laid out, as is done already: to subset them would be most of the time of a PDF.
getattr(Options, "_drop_tables_default", []).extend(["GDEF", "GPOS", "GSUB"])
logging.getLogger("fontTools").setLevel(logging.WARNING)  # it would list each table of a font in the job's log
_PNG_LEVEL = 3  # 3 % larger than the default, in half the time


def save_plot(plot: Plot, stem: Path | str) -> list[Path]:
    """Write the figure to STEM.png (at its own dpi), STEM.svg and STEM.pdf, its data to STEM.csv, its caption to STEM.txt.

    Returns the five paths. Nothing in the files tells when, where or by which version they were made. Text is text in SVG
    and PDF. Photographs inside the SVG are JPEGs, a fifth of the size of the PNGs that matplotlib embeds. Raises InputError
    when the disk is full.
    """
    stem, figure = Path(stem), plot.figure
    png, svg, pdf, csv, txt = (stem.parent / f"{stem.name}.{suffix}" for suffix in ("png", "svg", "pdf", "csv", "txt"))
    with plot_style():
        figure.draw_without_rendering()  # which makes the texts of the axes' ticks
        use_fonts_for_all_letters(figure)
        with atomic_path(png) as temporary:
            how = {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": _PNG_LEVEL}}
            figure.savefig(temporary, format="png", dpi="figure", **how)
        with atomic_path(pdf) as temporary:
            nothing = {"CreationDate": None, "Creator": None, "Producer": None}
            figure.savefig(temporary, format="pdf", dpi="figure", metadata=nothing)
        drawing = io.BytesIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(drawing, format="svg", metadata=nothing)
    with atomic_path(svg) as temporary:
        temporary.write_bytes(_EMBEDDED_PNG.sub(_as_jpeg, drawing.getvalue()))
    write_table(csv, plot.data)
    write_text(txt, plot.caption + "\n")
    return [png, svg, pdf, csv, txt]


def _as_jpeg(match: re.Match) -> bytes:
    jpeg = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(match[1]))) as image:
        image.convert("RGB").save(jpeg, "JPEG", quality=_JPEG_QUALITY)
    return b"data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue())
