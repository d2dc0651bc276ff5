"""Where a source's file is: below a URL, in a repo on the Hugging Face hub, or on Google Drive."""

import logging
import os
from pathlib import Path

from attribench.common.errors import InputError
from attribench.download.http import NoConnection, Remote, Transient, Unreachable, retry_after, with_retries
from attribench.download.partial import note_commit, noted_commit
from attribench.download.table import DownloadSettings, Source
from attribench.extract.hub import HUB_ADDRESS, RESTRICTED

DRIVE = "https://drive.usercontent.google.com/"
_DRIVE_HINT = " (Google Drive answers so where a file is not public, or when too many have downloaded it today)"
_SHA256_DIGITS, _SHA1_DIGITS = 64, 40


class NotThere(InputError):
    """Say that a repo on the hub does not have a file."""


def remote_file(source: Source, file: str, folder: Path, settings: DownloadSettings) -> Remote:
    """Return the address of one of the source's `files`, and what the server states of its content.

    folder: where the source is fetched into, with the note of a repo's commit. Raises InputError with the URL for a repo,
    revision or file that the hub does not have.
    """
    if source.kind == "http":
        return Remote(mirrored(public_address(source, file), settings.mirrors))
    if source.kind == "drive":
        # `confirm` skips the page of questions that large files have. Drive states no ETag, so the id stands for the
        # content; a digest in the table, or the archive's checksums, tell whether pieces fit together.
        url = mirrored(public_address(source, file), settings.mirrors)
        return Remote(url, identity=source.id, hint=_DRIVE_HINT)
    return _hub_file(source, file, folder, settings)


def public_address(source: Source, file: str) -> str:
    """Return where anybody finds one of the source's `files`: neither mirrors nor HF_ENDPOINT count."""
    if source.kind == "http":
        return source.url + file
    if source.kind == "drive":
        return f"{DRIVE}download?id={source.id}&export=download&confirm=t"
    datasets = "datasets/" if source.repo_type == "dataset" else ""
    return f"{HUB_ADDRESS}/{datasets}{source.repo}/resolve/{source.revision}/{file}"


def mirrored(url: str, mirrors: dict[str, str]) -> str:
    """Return `url` with its beginning replaced where that is one of `mirrors`; the longest one counts."""
    for base in sorted(mirrors, key=len, reverse=True):
        if url.startswith(base):
            return mirrors[base] + url.removeprefix(base)
    return url


def _hub_file(source: Source, file: str, folder: Path, settings: DownloadSettings) -> Remote:
    """Return the address of `file` in the source's repo, with the digest that the hub states. HF_ENDPOINT is respected.

    huggingface_hub gives metadata only. Its own download restarts a file in every process, which is too slow for files of
    10 GB, so `http` fetches the bytes.
    """
    from huggingface_hub.utils import build_hf_headers

    # A branch is read once, so that all files come from one commit although the download may be interrupted.
    commit = noted_commit(folder, source.revision)
    url = _hub_url(source, file, commit or source.revision)
    stated = with_retries(url, settings, lambda: _metadata(url, settings.timeout))
    if not stated.commit_hash or not stated.etag:
        raise InputError(f"{url}: the answer states no commit and digest; expected an endpoint of the hub's kind")
    if commit is None:
        logging.info("%s: %s is commit %s", source.repo, source.revision, stated.commit_hash)
        note_commit(folder, source.revision, stated.commit_hash)
    return Remote(
        _hub_url(source, file, stated.commit_hash),
        size=stated.size,
        sha256=stated.etag if len(stated.etag) == _SHA256_DIGITS else None,
        git_sha1=stated.etag if len(stated.etag) == _SHA1_DIGITS else None,
        identity=stated.etag,
        known_from=" (as the hub states)",
        headers=build_hf_headers(),
    )


def _hub_url(source: Source, file: str, revision: str) -> str:
    from huggingface_hub import constants, hf_hub_url

    endpoint = os.environ.get("HF_ENDPOINT", constants.ENDPOINT).rstrip("/")
    return hf_hub_url(source.repo, file, repo_type=source.repo_type, revision=revision, endpoint=endpoint)


def is_on_hub(source: Source, file: str, settings: DownloadSettings) -> bool:
    """Return whether the source's repo has `file`; True where the hub cannot be reached, which fetching it then reports."""
    url = _hub_url(source, file, source.revision)

    def ask() -> bool:
        try:
            _metadata(url, settings.timeout)
        except NoConnection:
            pass
        return True

    try:
        return with_retries(url, settings, ask)
    except Unreachable:
        return True
    except NotThere:
        return False


def _metadata(url: str, timeout: float):
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled

    try:
        return get_hf_file_metadata(url, timeout=timeout)
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (408, 429) or status >= 500:
            raise Transient(f"HTTP {status}", retry_after(error.response.headers)) from error
        kind = NotThere if isinstance(error, EntryNotFoundError) else InputError
        hint = RESTRICTED if status in (401, 403) else ""
        raise kind(f"{url}: HTTP {status}, {type(error).__name__}: {str(error).splitlines()[0]}{hint}") from error
    except OfflineModeIsEnabled as error:
        raise Unreachable(f"{url}: HF_HUB_OFFLINE is set, so that nothing can be fetched from the hub") from error
    except Exception as error:  # of the hub's HTTP library, which is another one in each of its major releases
        raise NoConnection(error) from error
