"""A file of a dataset repo on the Hugging Face hub.

huggingface_hub says what the file is (commit, size, digest, address). Its own download begins a file anew in every process,
which 10 GB parts do not allow, so the bytes come through `http`.
"""

import os

from attribench.download.http import Remote
from attribench.download.retry import Transient, with_retries
from attribench.download.table import DownloadSettings, Source
from attribench.errors import InputError

_LFS_DIGITS, _GIT_DIGITS = 64, 40


def hub_file(source: Source, file: str, revision: str, settings: DownloadSettings) -> tuple[Remote, str]:
    """`file` at `revision` of the source's repo, with the digest that the hub states, and the commit that this is.

    The endpoint is that of HF_ENDPOINT. Raises InputError with the URL for a repo, revision or file that is not there.
    """
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    endpoint = os.environ.get("HF_ENDPOINT", constants.ENDPOINT).rstrip("/")
    address = dict(repo_id=source.repo, filename=file, repo_type="dataset", endpoint=endpoint)
    url = hf_hub_url(**address, revision=revision)
    found = with_retries(url, settings, lambda: _metadata(url, settings.timeout))
    if not found.commit_hash or not found.etag:
        raise InputError(f"{url}: the answer states no commit and digest; expected an endpoint of the hub's kind")
    remote = Remote(
        hf_hub_url(**address, revision=found.commit_hash),
        size=found.size,
        sha256=found.etag if len(found.etag) == _LFS_DIGITS else None,
        git_sha1=found.etag if len(found.etag) == _GIT_DIGITS else None,
        identity=found.etag,
        known_from=" (as the hub states)",
        headers=build_hf_headers(),
    )
    return remote, found.commit_hash


def _metadata(url: str, timeout: float):
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        return get_hf_file_metadata(url, timeout=timeout)
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (408, 429) or status >= 500:
            raise Transient(f"HTTP {status}") from error
        raise InputError(f"{url}: HTTP {status}, {type(error).__name__}: {str(error).splitlines()[0]}") from error
    except OfflineModeIsEnabled as error:
        raise InputError(f"{url}: HF_HUB_OFFLINE is set, so that nothing can be fetched from the hub") from error
    except Exception as error:  # of the hub's HTTP library, which has been three different ones
        raise Transient(f"the connection failed ({type(error).__name__}: {error})") from error
