"""The live page, by Streamlit: what is chosen at the side, the answer beside it."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from urllib.parse import urlencode

import streamlit as st

from attribench.common.errors import InputError
from attribench.common.images import open_image
from attribench.decode.eight_bits import UnreadableImage
from attribench.demo.attribution import Attribution, attribute
from attribench.demo.cache import Cache, file_times
from attribench.demo.candidates import QueryImage, SplitFeatures, alone, entry_title, query_titles, read_split
from attribench.demo.markup import answer_line, mosaic, parts_bar, query_card, ranking_table, seconds_text
from attribench.demo.method import Network, ReadyMethod, get_ready
from attribench.demo.run import MethodFiles, Run, missing_files
from attribench.demo.table import as_csv, file_name
from attribench.demo.thumbnails import thumbnail
from attribench.formats.manifest import ManifestRow
from attribench.formats.ranking import Method

_QUERY, _MINE = "a query of a split", "an image of mine"
_NO_EXEMPLARS, _NOTHING = "none", "nothing"
_MEANING = (
    "Influence here is a calibrated similarity: how likely this method's features make each image the source, under the "
    "benchmark's own conditions. It is no causal effect: it does not say what the model would have made without an image."
)


@dataclass(frozen=True)
class Choice:
    """Hold what is chosen at the side: a query of `split` or an uploaded image, methods (one or two), images shown."""

    split: str
    methods: list[Method]
    query: ManifestRow | None
    upload: bytes | None
    name: str
    exemplars: bool
    n_first: int


@st.cache_resource
def _caches() -> dict[str, Cache]:
    return {"run": Cache(4), "method": Cache(16), "split": Cache(4), "network": Cache(2)}


def show(files: Sequence[str], pairs: Sequence[str]) -> None:
    """Show the page of the run of these config files and pairs KEY=VALUE."""
    st.set_page_config("Live attribution", layout="wide")
    st.html(Path(__file__).with_name("style.css"))
    st.title("Live attribution", anchor=False)
    wanted = st.session_state.setdefault("wanted", dict(st.query_params))
    try:
        changed = tuple(os.stat(file).st_mtime_ns for file in files if os.path.exists(file))
        run = _caches()["run"].get((tuple(files), tuple(pairs), changed), lambda: Run(files, pairs))
        choice = _choose(run)
        if choice:
            _warn_of_lost(wanted)
            _try_to_answer(run, choice)
    except (
        InputError,
        OSError,
    ) as error:  # OSError: a file that goes while it is read, a folder that cannot be written
        _say(error)


def _say(error: Exception | str) -> None:
    """Show what is wrong; the page stays up."""
    st.error(_message(str(error)), icon=":material/error:")


def _plain(text: str) -> str:
    """Return `text` so that Markdown shows it as it is."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text).replace("\n", "  \n")


def _message(text: str) -> str:
    """Return a message so that Markdown shows it as it is, with what stands between backticks as code."""
    return "".join(
        part if part[0] == "`" == part[-1] else _plain(part) for part in re.split("(`[^`\n]+`)", text) if part
    )


# --- what is chosen ---------------------------------------------------------------------------------------------------


def _choose(run: Run) -> Choice | None:
    """Return what is chosen; None where an image is still to be uploaded, or something is missing, which is then said."""
    bound = {"bind": "query-params"}
    with st.sidebar:
        st.header("Image", anchor=False)
        image = st.radio("Ask about", [_QUERY, _MINE], key="image", **bound)
        split = st.selectbox("Split", run.splits, key="split", **bound)
        where = st.container()
        st.header("Method", anchor=False)
        by_label = {run.labels[method]: method for method in run.methods}
        label = st.selectbox("Extractor and variant", list(by_label), key="method", **bound)
        others = [other for other in by_label if other != label]
        other = st.selectbox("Side by side with", [_NOTHING, *others], key="with", **bound)
        methods = [by_label[label], *([by_label[other]] if other in others else [])]
        n_first = st.slider("Images shown", 4, 48, 12, 4, key="images", **bound)
        for line in run.missing_method_lines:
            st.html(f'<div class="at"><p class="note">{escape(line)}</p></div>')
    for files in map(run.files_of, methods):
        if missing := missing_files(files, split):
            _say_missing(run, missing)
            return None
    with where:
        if image == _QUERY:
            query = _choose_query(_split(run.files_of(methods[0]), split))
            return Choice(split, methods, query, None, query.path, True, n_first)
        upload = st.file_uploader("Your image", key="upload", max_upload_size=50)
        joins = [split, _NO_EXEMPLARS]
        text = "Exemplars that join the database"
        exemplars = st.selectbox(text, joins, key="exemplars", format_func=_of_split, **bound) == split
    if upload is None:
        st.info(
            "Drop an image at the left. It is taken for a synthesized one, among the database and the exemplars of all "
            "entries of the split, or among the database alone. It stays on this machine, and is not kept.",
            icon=":material/image:",
        )
        return None
    return Choice(split, methods, None, upload.getvalue(), upload.name, exemplars, n_first)


def _of_split(name: str) -> str:
    return name if name == _NO_EXEMPLARS else f"all of {name}"


def _choose_query(split: SplitFeatures) -> ManifestRow:
    entries = {entry_title(rows[0]): rows for rows in split.queries.values()}
    entry = st.selectbox("Entry", list(entries), key="entry", bind="query-params")
    queries = query_titles(entries[entry])
    return queries[st.selectbox("Query", list(queries), key="query", bind="query-params")]


def _say_missing(run: Run, missing: list[str]) -> None:
    rest = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    st.info(f"Results are missing: `{missing[0]}`{rest}. This makes them:", icon=":material/play_circle:")
    st.code(run.command(), language=None, wrap_lines=True)


def _warn_of_lost(wanted: dict[str, str]) -> None:
    """Say where the link that opened the page asks for what this run does not have."""
    lost = [f"{key} {value}" for key, value in wanted.items() if str(st.session_state.get(key, value)) != value]
    if lost and not st.session_state.get("moved"):
        st.warning(
            f"The link asks for what this run does not have: {_plain(', '.join(lost))}.", icon=":material/link_off:"
        )
    st.session_state["moved"] = True


# --- the answer -------------------------------------------------------------------------------------------------------


def _split(files: MethodFiles, split: str) -> SplitFeatures:
    return _caches()["split"].get(file_times(files, split), lambda: read_split(files.splits[split], files.database))


def _ready(files: MethodFiles, split: str) -> ReadyMethod:
    """Return the method, and show how far it is where its rows are still to be written."""
    bar = st.empty()

    def show_progress(share: float) -> None:
        bar.progress(share, f"Preparing {_plain(files.label)}, once: {share:.0%}")

    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        return _caches()["method"].get(
            file_times(files, split),
            lambda: get_ready(files, threads, show_progress),
            lambda ready: ready.rows.are_there,
        )
    finally:
        bar.empty()


def _network(run: Run, files: MethodFiles) -> Network:
    config = run.config
    name = files.method.extractor
    with st.spinner(f"Loading {_plain(name)}"):
        return _caches()["network"].get((config.root, name), lambda: Network(files, config.root, config.device))


def _try_to_answer(run: Run, choice: Choice) -> None:
    """Show the answer, or what is wrong with an uploaded file."""
    try:
        _answer(run, choice)
    except UnreadableImage as error:
        _say(
            f"{choice.name} cannot be used as an image: {error}. Expected a whole image of at most "
            f"{run.reading.max_pixels:,} pixels, such as a JPEG, PNG, WebP, TIFF or HEIC file."
        )


def _answer(run: Run, choice: Choice) -> None:
    """Show the query, and each method's answer."""
    files = [run.files_of(method) for method in choice.methods]
    with TemporaryDirectory() as folder:
        path = Path(run.image(choice.query.path)) if choice.query else Path(folder, "image")
        if choice.upload is not None:
            path.write_bytes(choice.upload)
            with run.reading.image(path):  # before networks are loaded
                pass
        networks = [None if choice.query else _network(run, one) for one in files]
        ready = [_ready(one, choice.split) for one in files]
        answers = [_one_answer(run, choice, *of_method, path) for of_method in zip(files, ready, networks, strict=True)]
        card, actions = st.columns([4, 1])
        with card:
            st.html(_card(run, choice, path, files[0]))
        with actions:
            _show_download_and_link(choice, [answer for answer, _ in answers])
    if len(answers) > 1:
        _say_shared([answer for answer, _ in answers])
    columns = st.columns(len(answers), gap="large")
    first = [frozenset(one.path for one in answer.first) for answer, _ in answers]
    top = max(one.influence or 0.0 for answer, _ in answers for one in answer.first)
    for number, (column, (answer, seconds)) in enumerate(zip(columns, answers, strict=True)):
        with column:
            others = first[1 - number] if len(answers) > 1 else frozenset()
            _show_answer(run, ready[number], answer, seconds, top, others)
    if run.config.influence:
        st.html(f'<div class="at"><p class="note">{_MEANING}</p></div>')


def _one_answer(
    run: Run, choice: Choice, files: MethodFiles, ready: ReadyMethod, network: Network | None, path: Path
) -> tuple[Attribution, float]:
    """Return the answer, and how many seconds it took from the image, or the query's stored feature, on."""
    split = _split(files, choice.split)
    started = perf_counter()
    if choice.query:
        query: QueryImage = split.query(choice.query.path)
    else:
        feature = network.feature(path, run.reading)
        query = split.with_all_exemplars(feature) if choice.exemplars else alone(feature)
    return attribute(query, ready, choice.n_first), perf_counter() - started


def _card(run: Run, choice: Choice, path: Path, files: MethodFiles) -> str:
    if choice.query:
        row = choice.query
        facts = [
            ("Query", row.path),
            ("Prompt type", row.prompt_type),
            ("Split", f"{choice.split}, {entry_title(row)}"),
        ]
        return query_card(thumbnail(path, run.reading), f"The query {row.path}", facts)
    n_images = getattr(open_image(path), "n_frames", 1)
    several = [("Images in the file", f"{n_images:,}; the first one is taken")] if n_images > 1 else []
    joined = f"all exemplars of {choice.split}" if choice.exemplars else "no exemplars"
    facts = [("Your image", choice.name), *several, ("Candidates", f"the database and {joined}")]
    return query_card(thumbnail(path, run.reading), f"Your image {choice.name}", facts)


def _show_answer(
    run: Run, ready: ReadyMethod, answer: Attribution, seconds: float, top: float, others: frozenset[str]
) -> None:
    def picture(path: str) -> str | None:
        return thumbnail(run.image(path), run.reading)

    st.header(_plain(ready.files.label), anchor=False)
    bar = parts_bar(answer) if ready.calibrator else ""
    getting_ready = (
        "Writing the rows of this method, which are kept for later,"
        if ready.made
        else "Opening the kept rows of this method"
    )
    n = answer.n_database + answer.n_exemplars
    times = (
        f"Answered in {seconds_text(seconds)}, over {n:,} images. {getting_ready} took {seconds_text(ready.seconds)}."
    )
    st.html(f'<div class="at"><p class="answer">{answer_line(answer)}</p>{bar}<p class="note">{times}</p></div>')
    if ready.calibrator is None:
        _say_no_influence(run)
    st.subheader("Images by influence" if ready.calibrator else "Images by score", anchor=False)
    st.html(mosaic(answer, picture, top))
    if absent := [one for one in answer.first if picture(one.path) is None]:
        text = f"{len(absent)} of these {len(answer.first)} images are not on this disk, or not readable."
        hints = dict.fromkeys(run.hint(one.path, not one.is_exemplar) for one in absent)
        st.markdown(_message("\n".join([text, *list(hints)[:2]])))
    st.subheader("Ranking", anchor=False)
    st.html(ranking_table(answer, picture, ready.files.label, others))


def _say_no_influence(run: Run) -> None:
    """Say how to get influence, or what keeps this run from having some."""
    try:
        command = run.influence_command()
    except InputError as error:
        st.info(_message(f"Influence is off, so these are scores alone. With `influence: true`, {error}"))
        return
    st.info("Influence is off, so these are scores alone. This makes influence:", icon=":material/info:")
    st.code(command, language=None, wrap_lines=True)


def _say_shared(answers: list[Attribution]) -> None:
    first, second = (frozenset(one.path for one in answer.first) for answer in answers)
    st.markdown(f"**Both methods have {len(first & second)} of their first {len(first)} images in common.**")


def _show_download_and_link(choice: Choice, answers: list[Attribution]) -> None:
    rows = [(*method, answer) for method, answer in zip(choice.methods, answers, strict=True)]
    st.download_button(
        "Download as CSV",
        as_csv(choice.name, rows),
        file_name(choice.query, choice.name, choice.methods),
        "text/csv",
        on_click="ignore",
        width="stretch",
    )
    with st.popover("Link to this view", width="stretch"):
        if choice.query is None:
            st.write("A link cannot hold your image: it would be uploaded anew.")
        keys = ("image", "split", "entry", "query", "method", "with", "images", "exemplars")
        shown = {key: st.session_state[key] for key in keys if key in st.session_state}
        st.code(f"{(st.context.url or '').split('?')[0]}?{urlencode(shown)}", language=None, wrap_lines=True)
