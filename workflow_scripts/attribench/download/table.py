"""The table of sources, and the settings of downloads: closed models of the config keys `sources` and `download`."""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from attribench.common.schema import Closed, Name, number, whole

STATE = ".downloads"  # below the root: what downloads note


def _below_root(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or parts[0] == STATE:
        raise ValueError("expected a path below the benchmark root, without `..`")
    return path


BelowRoot = Annotated[
    str, Field(pattern=r"^[^{}\\]+$", description="a path without braces and backslashes"), AfterValidator(_below_root)
]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="a SHA-256 of 64 hexadecimal digits")]
BaseUrl = Annotated[str, Field(pattern=r"^https?://.+/$", description="the beginning of an address: http(s)://…/")]
# What each kind must have, beside `files`.
_NEEDS = {"http": {"url"}, "hub": {"repo"}, "drive": {"id"}}


class Source(Closed):
    """Hold one row: files that one server has, and the paths below the root that they provide.

    files: http: below `url`; hub: within the repo, of datasets or of models (`repo_type`); drive: one name, under which the
    file is kept.
    size: bytes to fetch, about; None: unknown. sha256: of files, where upstream publishes it.
    provides: with `unpack: none` one path for each file; otherwise what the archive holds, a folder with `/` at its end.
    fallback: the source that is tried when nothing of this one can be fetched. A fallback is never chosen by itself.
    """

    benchmark: Name
    kind: Literal["http", "hub", "drive"]
    url: BaseUrl | None = None
    repo: Annotated[str, Field(pattern=r"^[\w.\-]+/[\w.\-]+$")] | None = None
    repo_type: Literal["dataset", "model"] = "dataset"
    revision: str = "main"
    id: str | None = None
    files: Annotated[list[BelowRoot], Field(min_length=1)]
    size: whole(ge=0) | None = None
    sha256: Annotated[dict[str, Sha256], Field(default_factory=dict)]
    unpack: Literal["7z", "tar", "none"] = "none"
    provides: Annotated[list[BelowRoot], Field(min_length=1)]
    licence: str
    unlocks: str
    fallback: Name | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Source":
        missing = [key for key in _NEEDS[self.kind] if getattr(self, key) is None]
        if missing:
            raise ValueError(f"kind {self.kind} needs {', '.join(missing)}")
        foreign = sorted(
            key for key in set().union(*_NEEDS.values()) - _NEEDS[self.kind] if getattr(self, key) is not None
        )
        if foreign:
            raise ValueError(
                f"kind {self.kind} has no {', '.join(foreign)}; expected {', '.join(_NEEDS[self.kind])} alone"
            )
        names = [local_name(file) for file in self.files]
        if len(set(names)) != len(names):
            raise ValueError("two of `files` have the same name; expected different ones")
        if self.unpack == "none" and (len(self.files) != len(self.provides) or any(map(is_folder, self.provides))):
            raise ValueError("with `unpack: none`, `provides` names one file for each of `files`")
        if (self.unpack == "tar" and len(self.files) != 1) or (self.kind == "drive" and len(self.files) != 1):
            raise ValueError("a tar archive or a file on Google Drive is one of `files`; expected no more")
        if unknown := sorted(set(self.sha256) - set(self.files)):
            raise ValueError(f"sha256 names {', '.join(unknown)}, which `files` does not")
        return self


class NetworkSource(Source):
    """Hold the files of a network that its library names. Only its job asks which they are (see `download.networks`).

    model: library and model, in words.
    """

    kind: Literal["network"] = "network"
    model: str
    files: list[str] = Field(default_factory=list)
    licence: str = "the model's"

    @model_validator(mode="after")
    def _complete(self) -> "NetworkSource":
        return self


class DownloadSettings(Closed):
    """Hold how downloads are made. None of it can change a result."""

    retries: whole(ge=0, le=10**6)
    backoff: number(ge=0, le=86_400)
    timeout: number(gt=0, le=86_400)
    expansion: number(ge=1)
    keep_archives: bool
    mirrors: dict[BaseUrl, BaseUrl]


def local_name(file: str) -> str:
    """Return the name under which one of a source's files is kept."""
    return PurePosixPath(file).name


def is_folder(path: str) -> bool:
    """Return whether a path of `provides` is a folder's."""
    return path.endswith("/")


def covers(provided: str, path: str) -> bool:
    """Return whether the `provided` path is `path`, or the folder that it is in."""
    path = path.rstrip("/")
    return provided.rstrip("/") == path or (is_folder(provided) and path.startswith(provided))


def origin(source: Source) -> str:
    """Return where the source is, in words for people."""
    if isinstance(source, NetworkSource):
        return source.model
    return {"http": source.url, "hub": f"hub {source.repo}", "drive": f"Google Drive {source.id}"}[source.kind]
