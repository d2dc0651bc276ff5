"""A file over HTTP: resumed where it stopped, tried again a bounded number of times, never taken as whole when it is not."""

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests
import urllib3
from requests import exceptions as http_errors

from attribench.download.partial import Partial, PartOf, Whole
from attribench.download.retry import Transient, with_retries
from attribench.download.table import DownloadSettings
from attribench.errors import InputError
from attribench.files import sha256_file
from attribench.progress import byte_progress

_BLOCK = 1 << 20
# Worth another attempt; every other status that is no success is final.
_TRANSIENT_STATUS = {408, 416, 425, 429, 500, 502, 503, 504}
_WRONG_URL = (http_errors.InvalidURL, http_errors.InvalidSchema, http_errors.MissingSchema)
_LOOKS_LIKE_HTML = re.compile(rb"^\s*(<!doctype html|<html)", re.IGNORECASE)


@dataclass(frozen=True)
class Remote:
    """A file on a server, and what is known of it: exact bytes, SHA-256, git's SHA-1 of it as a blob; None: unknown.

    identity: a digest of the content that the server states elsewhere; stands for the ETag. known_from: who says so.
    """

    url: str
    size: int | None = None
    sha256: str | None = None
    git_sha1: str | None = None
    identity: str | None = None
    known_from: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def mirrored(url: str, mirrors: dict[str, str]) -> str:
    """`url`, with its beginning replaced where it is one of `mirrors`; the longest one counts."""
    for base in sorted(mirrors, key=len, reverse=True):
        if url.startswith(base):
            return mirrors[base] + url.removeprefix(base)
    return url


def fetch(remote: Remote, partial: Partial, settings: DownloadSettings) -> Whole:
    """Fetch `remote` into `partial`, from where it stopped, and verify it.

    Raises InputError with the URL and the reason: a wrong status, an HTML page, a body that stays short, a wrong digest.
    """
    furthest = partial.size

    def has_gained() -> bool:
        nonlocal furthest
        gained = partial.size > furthest
        furthest = max(furthest, partial.size)
        return gained

    return with_retries(remote.url, settings, lambda: _attempt(remote, partial, settings), has_gained)


def _attempt(remote: Remote, partial: Partial, settings: DownloadSettings) -> Whole:
    start = _usable(remote, partial)
    total = partial.part_of.total if start else remote.size
    if not start or start != total:
        headers = {"Accept-Encoding": "identity", "User-Agent": "attribench", **remote.headers}
        if start:
            headers["Range"] = f"bytes={start}-"
            if remote.identity is None and partial.part_of.validator:
                headers["If-Range"] = partial.part_of.validator
        with _response(remote.url, headers, settings.timeout) as response:
            total = _receive(remote, partial, response, start)
    if total is not None and partial.size != total:
        raise Transient(f"sent {partial.size} of {total} bytes")
    whole = verified(remote, partial, in_pieces=start > 0)
    partial.finish(whole)
    return whole


def _usable(remote: Remote, partial: Partial) -> int:
    """How many bytes of what has come may be kept: all, or none when they may belong to other content."""
    known = partial.part_of
    if known is None:
        partial.discard()
        return 0
    # Without a validator only a digest can tell that two pieces fit together.
    can_tell = known.validator or known.identity or remote.sha256
    if not can_tell or known.identity != remote.identity or remote.size not in (None, known.total):
        logging.info("%s: begun anew, what had come may be of other content", remote.url)
        partial.discard()
        return 0
    if known.total is not None and partial.size > known.total:
        partial.discard()
        return 0
    return partial.size


@contextmanager
def _response(url: str, headers: dict[str, str], timeout: float) -> Iterator[requests.Response]:
    try:
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
            yield response
    except _WRONG_URL as error:
        raise InputError(f"{url}: {error}") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise Transient(f"the connection failed ({error})") from error


def _receive(remote: Remote, partial: Partial, response: requests.Response, start: int) -> int | None:
    """Append the body to the part; bytes that the whole file has, or None where only the body's end tells."""
    if response.status_code == 416:  # the part is longer than the file
        partial.discard()
    _check_status(remote.url, response)
    if response.status_code == 206:
        total = _check_range(response, partial, start)
    else:  # the whole file: because it was asked for, or changed, or the server knows no ranges
        total, start = _length(remote, response), 0
    if remote.size not in (None, total) and total is not None:
        partial.discard()
        raise Transient(f"is {total} bytes long; expected {remote.size}{remote.known_from}")
    if start == 0:
        partial.begin(PartOf(remote.url, _validator(response), remote.identity, total))
    # Undecoded: a server may mark .tar.gz files as gzip-encoded.
    blocks = response.raw.stream(_BLOCK, decode_content=False)
    with open(partial.part, "ab") as file, byte_progress(partial.part.name, total, start) as bar:
        for number, block in enumerate(blocks):
            if start == 0 and number == 0 and _LOOKS_LIKE_HTML.match(block):
                raise Transient(f"answered with an HTML page, not with the file: {_title(block)}")
            file.write(block)
            bar.update(len(block))
    return total


def _check_status(url: str, response: requests.Response) -> None:
    reason = f"HTTP {response.status_code} {response.reason}"
    if response.status_code in _TRANSIENT_STATUS:
        wait = response.headers.get("Retry-After", "")
        raise Transient(reason, float(wait) if wait.isdigit() else 0)
    if response.status_code not in (200, 206):
        raise InputError(f"{url}: {reason}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        page = response.raw.read(_BLOCK, decode_content=True)
        raise Transient(f"answered with an HTML page, not with the file: {_title(page)}")


def _check_range(response: requests.Response, partial: Partial, start: int) -> int:
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
    known = partial.part_of
    if not found or int(found[1]) != start or known is None or known.total not in (None, int(found[3])):
        partial.discard()
        raise Transient(f"sent the range {response.headers.get('Content-Range')!r}; expected it from {start} on")
    return int(found[3])


def _length(remote: Remote, response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length")
    is_chunked = response.headers.get("Transfer-Encoding", "").lower() == "chunked"
    if length is None and not is_chunked and remote.size is None and remote.sha256 is None:
        raise InputError(f"{remote.url}: the server states no length, so that a whole file cannot be told from a part")
    return int(length) if length is not None else remote.size


def _validator(response: requests.Response) -> str | None:
    """What If-Range takes: a strong ETag, or the date."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _title(page: bytes) -> str:
    found = re.search(rb"<title>(.*?)</title>", page, re.IGNORECASE | re.DOTALL)
    return " ".join((found[1] if found else page[:80]).decode("utf-8", "replace").split())


def verified(remote: Remote, partial: Partial, in_pieces: bool) -> Whole:
    """The part, which is whole, with its digest. One that is wrong is removed; pieces are then worth another attempt."""
    whole = Whole(partial.size, sha256_file(partial.part), remote.url)
    wrong = []
    if remote.sha256 not in (None, whole.sha256):
        wrong = ["SHA-256", whole.sha256, remote.sha256]
    elif remote.git_sha1 and remote.git_sha1 != (found := _git_sha1(partial.part)):
        wrong = ["git's SHA-1", found, remote.git_sha1]
    if wrong:
        partial.discard()
        reason = f"{wrong[0]} is {wrong[1]}; expected {wrong[2]}{remote.known_from}"
        if in_pieces:
            raise Transient(reason)
        raise InputError(f"{remote.url}: {reason}")
    return whole


def _git_sha1(path: Path) -> str:
    """SHA-1 of the file as git stores it: what the hub states for files outside LFS."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
