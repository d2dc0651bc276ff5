"""Fetch one file over HTTP: resume where it stopped, try again a bounded number of times, never accept a part as whole."""

import logging
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TypeVar

import requests
import urllib3
from requests import exceptions as http_errors
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from attribench.common.errors import InputError
from attribench.common.files import git_sha1_file, sha256_file
from attribench.common.progress import byte_progress
from attribench.download.partial import Partial, PartOf, Whole
from attribench.download.table import DownloadSettings

T = TypeVar("T")
LONGEST_WAIT = 300.0  # seconds, whatever a server's Retry-After says
_BLOCK = 1 << 20
# Another attempt may succeed after one of these. Any other status that is no success is final.
_TRANSIENT_STATUS = {408, 416, 425, 429, 500, 502, 503, 504}
_WRONG_URL = (http_errors.InvalidURL, http_errors.InvalidSchema, http_errors.MissingSchema)
_LOOKS_LIKE_HTML = re.compile(rb"^\s*(<!doctype html|<html)", re.IGNORECASE)


@dataclass(frozen=True)
class Remote:
    """Hold the address of a file, and what is known of its content (None: unknown).

    size: exact bytes. git_sha1: SHA-1 of the file as git stores it. identity: stands for the content in place of an ETag; a
    part is continued while it stays the same. known_from: who states size and digests, for messages. hint: what an HTML
    page or an error means on this server, for messages; a page is then final.
    """

    url: str
    size: int | None = None
    sha256: str | None = None
    git_sha1: str | None = None
    identity: str | None = None
    known_from: str = ""
    hint: str = ""
    headers: dict[str, str] = field(default_factory=dict)


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


# --- attempts -----------------------------------------------------------------------------------------------------------


class Transient(Exception):
    """Say that another attempt may succeed; `wait`: seconds that the server demands before it."""

    def __init__(self, reason: str, wait: float = 0):
        super().__init__(reason)
        self.wait = wait


class NoConnection(Transient):
    """Say that the server could not be reached, because of `cause`, an error of the HTTP library."""

    def __init__(self, cause: BaseException):
        self.is_unresolved = _is_unresolved(cause)
        reason = "its host's name does not resolve" if self.is_unresolved else f"{type(cause).__name__}: {cause}"
        super().__init__(f"the connection failed ({reason})")


class Unreachable(InputError):
    """Say that a server cannot be reached from here: another one may be, or the files have to come otherwise."""


def _is_unresolved(error: BaseException | None) -> bool:
    """Return whether an unknown host name caused `error`, whichever library wraps that."""
    while error and not isinstance(error, socket.gaierror):
        error = error.__cause__ or error.__context__
    return error is not None


def with_retries(
    url: str, settings: DownloadSettings, work: Callable[[], T], has_gained: Callable[[], bool] = lambda: False
) -> T:
    """Return the result of `work`, which is called again, after waits that grow, when it raises Transient.

    After more than `settings.retries` attempts in a row that brought nothing (`has_gained` says whether the last one did),
    raises InputError with `url` and the last reason. A server that cuts each connection early but sends the rest on request
    is therefore no reason to give up. A host's name that does not resolve at the first attempt will not at the next: that is
    given up at once. Raises Unreachable where there was no connection.
    """
    fruitless = 0

    def attempt() -> T:
        nonlocal fruitless
        try:
            return work()
        except Transient:
            fruitless = 1 if has_gained() else fruitless + 1
            raise

    def stop(state: RetryCallState) -> bool:
        is_unresolved = getattr(state.outcome.exception(), "is_unresolved", False)
        return fruitless > settings.retries or (is_unresolved and state.attempt_number == 1)

    def wait(state: RetryCallState) -> float:
        grown = settings.backoff * 2 ** min(fruitless - 1, 16)
        return min(LONGEST_WAIT, max(state.outcome.exception().wait, grown))

    def note(state: RetryCallState) -> None:
        logging.warning("%s: %s; again in %.1f s", url, state.outcome.exception(), state.next_action.sleep)

    attempts = Retrying(retry=retry_if_exception_type(Transient), stop=stop, wait=wait, before_sleep=note, reraise=True)
    try:
        return attempts(attempt)
    except Transient as error:
        number = attempts.statistics["attempt_number"]
        given_up = f"; given up after {number} attempts" if number > 1 else ""
        kind = Unreachable if isinstance(error, NoConnection) else InputError
        raise kind(f"{url}: {error}{given_up}") from error


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
    if not partial.size and remote.size != 0:
        partial.discard()
        raise Transient("sent an empty file")
    whole = _verified(remote, partial, in_pieces=start > 0)
    partial.finish(whole)
    return whole


def _usable(remote: Remote, partial: Partial) -> int:
    """Return how many bytes of the part may be kept: all, or none when they may belong to other content."""
    part_of = partial.part_of
    if part_of is None:
        partial.discard()
        return 0
    # Without a validator, only a digest can tell whether two pieces fit together.
    can_tell = part_of.validator or part_of.identity or remote.sha256
    if not can_tell or part_of.identity != remote.identity or remote.size not in (None, part_of.total):
        logging.info("%s: begun anew, because what had come may belong to other content", remote.url)
        partial.discard()
        return 0
    if part_of.total is not None and partial.size > part_of.total:
        partial.discard()
        return 0
    return partial.size


# --- one response -------------------------------------------------------------------------------------------------------


@contextmanager
def _response(url: str, headers: dict[str, str], timeout: float) -> Iterator[requests.Response]:
    try:
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
            yield response
    except _WRONG_URL as error:
        raise InputError(f"{url}: {error}") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise NoConnection(error) from error


def _receive(remote: Remote, partial: Partial, response: requests.Response, start: int) -> int | None:
    """Append the body to the part. Return how long the whole file is, or None where only the body's end tells."""
    if response.status_code == 416:  # the part is longer than the file
        partial.discard()
    _check_status(remote, response)
    if response.status_code == 206:
        total = _check_range(response, partial, start)
    else:  # the whole file: this was the first request, or the file changed, or the server knows no ranges
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
                _refuse_page(remote, block)
            file.write(block)
            bar.update(len(block))
    return total


def _check_status(remote: Remote, response: requests.Response) -> None:
    reason = f"HTTP {response.status_code} {response.reason}"
    if response.status_code in _TRANSIENT_STATUS:
        raise Transient(reason, retry_after(response.headers))
    if response.status_code not in (200, 206):
        raise InputError(f"{remote.url}: {reason}{remote.hint}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        _refuse_page(remote, response.raw.read(_BLOCK, decode_content=True))


def retry_after(headers: Mapping[str, str]) -> float:
    """Return how many seconds an answer demands to wait, as a number or until a date; 0 where it says nothing of it."""
    stated = headers.get("Retry-After", "")
    try:
        if stated.isdecimal():
            return float(stated)
        return max(0.0, parsedate_to_datetime(stated).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _refuse_page(remote: Remote, page: bytes) -> None:
    title = re.search(rb"<title>(.*?)</title>", page, re.IGNORECASE | re.DOTALL)
    text = " ".join((title[1] if title else page[:80]).decode("utf-8", "replace").split())
    reason = f"answered with an HTML page, not with the file: {text}"
    if remote.hint:
        raise InputError(f"{remote.url}: {reason}{remote.hint}")
    raise Transient(reason)


def _check_range(response: requests.Response, partial: Partial, start: int) -> int:
    """Return the whole file's length as the answer to a range states it; raise Transient for another range."""
    stated = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
    part_of = partial.part_of
    if not stated or int(stated[1]) != start or part_of is None or part_of.total not in (None, int(stated[3])):
        partial.discard()
        raise Transient(f"sent the range {response.headers.get('Content-Range')!r}; expected it from {start} on")
    return int(stated[3])


def _length(remote: Remote, response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length")
    is_chunked = response.headers.get("Transfer-Encoding", "").lower() == "chunked"
    if length is None and not is_chunked and remote.size is None and remote.sha256 is None:
        raise InputError(f"{remote.url}: the server states no length, so that a whole file cannot be told from a part")
    return int(length) if length is not None else remote.size


def _validator(response: requests.Response) -> str | None:
    """Return what If-Range takes: a strong ETag, or the date."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


# --- digests ------------------------------------------------------------------------------------------------------------


def _verified(remote: Remote, partial: Partial, in_pieces: bool) -> Whole:
    """Return size and digest of the part, which is whole.

    One with a wrong digest is removed. If it came in pieces, they may not fit together, so another attempt may succeed.
    """
    whole = Whole(partial.size, sha256_file(partial.part))
    wrong = None
    if remote.sha256 not in (None, whole.sha256):
        wrong = ("SHA-256", whole.sha256, remote.sha256)
    elif remote.git_sha1 and remote.git_sha1 != (digest := git_sha1_file(partial.part)):
        wrong = ("git's SHA-1", digest, remote.git_sha1)
    if wrong:
        partial.discard()
        reason = f"{wrong[0]} is {wrong[1]}; expected {wrong[2]}{remote.known_from}"
        if in_pieces:
            raise Transient(reason)
        raise InputError(f"{remote.url}: {reason}")
    return whole
