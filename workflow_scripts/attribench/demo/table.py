"""The answer as CSV: a row an image, and one for all others."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from attribench.demo.attribution import Attribution
from attribench.formats.manifest import ManifestRow
from attribench.formats.ranking import Method

_COLUMNS = ["query", "extractor", "variant", "rank", "role", "entry", "path", "score", "influence"]


def as_csv(query: str, answers: Sequence[tuple[str, str, Attribution]]) -> str:
    """Return the answers of methods about the image `query`: (extractor, variant, answer) of each.

    The last row of each has the role `others`, no path, and the influence of all images that have no row. Without a
    calibrator, influence is empty.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for extractor, variant, answer in answers:
        for one in answer.first:
            role = "exemplar" if one.is_exemplar else "database"
            writer.writerow([query, extractor, variant, one.rank, role, one.entry, one.path, one.score, one.influence])
        writer.writerow([query, extractor, variant, None, "others", None, None, None, answer.remaining])
    return text.getvalue()


def file_name(query: ManifestRow | None, name: str, methods: Sequence[Method]) -> str:
    """Return what the CSV is called: by a query's entry and prompt type, the stem of `name`, and the methods."""
    of_query = [f"entry {query.entry}", query.prompt_type] if query else []
    parts = [*of_query, PurePosixPath(name).stem, *(method.name for method in methods)]
    return re.sub(r"[^\w.-]+", "-", "_".join(filter(None, parts))) + ".csv"
