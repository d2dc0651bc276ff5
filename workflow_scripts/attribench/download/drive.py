"""A file on Google Drive, through gdown: what lies only there, or cannot be had elsewhere."""

import shutil

from attribench.download.http import Remote, mirrored, verified
from attribench.download.partial import Partial, Whole
from attribench.download.retry import Transient, with_retries
from attribench.download.table import DownloadSettings, Source
from attribench.errors import InputError

DRIVE = "https://drive.google.com/"


def fetch_drive(
    source: Source, sha256: str | None, known_from: str, partial: Partial, settings: DownloadSettings
) -> Whole:
    """Fetch the source's file. gdown resumes its own part; whether the pieces fit, the archive's checksums tell.

    Raises InputError with the URL and the reason, among them a quota that is used up and a file that is not public.
    """
    url = mirrored(f"{DRIVE}uc?id={source.id}", settings.mirrors)
    remote = Remote(url, sha256=sha256, known_from=known_from)

    def attempt() -> Whole:
        _gdown(url, partial, settings.timeout)
        whole = verified(remote, partial, in_pieces=False)
        partial.finish(whole)
        return whole

    return with_retries(url, settings, attempt)


def _gdown(url: str, partial: Partial, timeout: float) -> None:
    import gdown
    import requests
    from gdown.exceptions import DownloadError, FileURLRetrievalError

    # In a folder of its own: gdown knows a part by the beginning of its name.
    folder = partial.part.with_name(f"{partial.part.name}.gdown")
    folder.mkdir(exist_ok=True)
    output = folder / "file"
    try:
        gdown.download(url=url, output=str(output), resume=True, timeout=timeout, use_cookies=False)
    except FileURLRetrievalError as error:
        raise InputError(f"{url}: {' '.join(str(error).split())}") from error
    except requests.HTTPError as error:
        status = error.response.status_code
        if status in (408, 429) or status >= 500:
            raise Transient(f"HTTP {status}") from error
        raise InputError(f"{url}: HTTP {status} {error.response.reason}") from error
    except (requests.RequestException, DownloadError) as error:
        raise Transient(str(error)) from error
    with open(output, "rb") as file:
        if file.read(64).lstrip().lower().startswith((b"<!doctype html", b"<html")):
            shutil.rmtree(folder)
            raise Transient("answered with an HTML page, not with the file")
    output.replace(partial.part)
    shutil.rmtree(folder)
