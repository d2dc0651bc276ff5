"""Files of the hub, from a local endpoint of its kind, and of Google Drive, from a local server that answers like it."""

import hashlib
import os

import pytest
from attribench.common.errors import InputError
from attribench.download.address import DRIVE
from attribench.download.download import download
from attribench.download.table import STATE, DownloadSettings, Source
from attribench.provenance.fingerprints import read_record
from helpers.archives import tar_of
from helpers.servers import COMMIT, running_site

CONTENT = os.urandom(200_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER_COMMIT = "d" * 40
SETTINGS = DownloadSettings(retries=2, backoff=0.01, timeout=5, expansion=20, keep_archives=False, mirrors={})
TEXTS = {"licence": "none", "unlocks": "a test", "benchmark": "abc"}
HUB = Source(
    kind="hub", repo="some/data", files=["json/a.json", "json/b.json"], provides=["d/a.json", "d/b.json"], **TEXTS
)
DRIVEN = Source(kind="drive", id="Abc-1", files=["a.json"], provides=["d/a.json"], **TEXTS)
DRIVE_FILE = "/download?id=Abc-1&export=download&confirm=t"


@pytest.fixture
def site(monkeypatch):
    with running_site() as site:
        monkeypatch.setenv("HF_ENDPOINT", site.url)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield site


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def run(root, source=HUB, fallback=None, settings=SETTINGS, name="it"):
    rows = [(name, source), *([("other", fallback)] if fallback else [])]
    download(root, rows, wanted=list(source.provides), token="token", settings=settings)


def address(file, revision="main"):
    return f"/datasets/some/data/resolve/{revision}/{file}"


def recorded(root, path):
    return read_record(root / STATE / "it.csv").fingerprints[path]


# --- the hub ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lfs", [True, False])
def test_all_files_come_at_the_commit_of_the_branch_which_is_read_once(site, root, lfs):
    site.add("hub/json/a.json", CONTENT, lfs=lfs)
    site.add("hub/json/b.json", CONTENT[:500], lfs=lfs)
    run(root)
    assert (root / "d/a.json").read_bytes() == CONTENT
    assert (root / "d/b.json").read_bytes() == CONTENT[:500]
    both = [address("json/a.json", COMMIT), address("json/b.json", COMMIT)]
    assert site.hub_requests() == [address("json/a.json"), both[0], both[1], both[1]]
    assert recorded(root, "d/a.json").sha256 == SHA256
    assert not (root / STATE / "it").exists()


def test_an_interrupted_download_goes_on_at_its_commit_though_the_branch_moved(site, root):
    site.add("hub/json/a.json", CONTENT)
    site.add("hub/json/b.json", b"of the same commit", faults=[404])
    with pytest.raises(InputError, match="HTTP 404"):
        run(root)
    site.commit = OTHER_COMMIT
    site.add("hub/json/a.json", b"later")
    site.add("hub/json/b.json", b"later")
    site.requests.clear()
    run(root)
    assert (root / "d/a.json").read_bytes() == CONTENT
    assert (root / "d/b.json").read_bytes() == b"of the same commit"
    assert set(site.hub_requests()) == {address("json/b.json", COMMIT)}


def test_another_revision_in_the_table_counts_more_than_the_commit_of_an_interrupted_download(site, root):
    site.add("hub/json/a.json", CONTENT)
    with pytest.raises(InputError, match=f"/resolve/{COMMIT}/json/b.json: HTTP 404"):
        run(root)
    with pytest.raises(InputError, match=f"/resolve/{OTHER_COMMIT}/json/b.json: HTTP 404"):
        run(root, HUB.model_copy(update={"revision": OTHER_COMMIT}))


@pytest.mark.parametrize("lfs", [True, False])
def test_a_deleted_file_comes_again_from_a_later_commit_that_has_it_unchanged(site, root, lfs):
    site.add("hub/json/a.json", CONTENT, lfs=lfs)
    site.add("hub/json/b.json", CONTENT[:500], lfs=lfs)
    run(root)
    site.commit = OTHER_COMMIT
    site.add("hub/json/b.json", CONTENT[:500], lfs=lfs)
    (root / "d/b.json").unlink()
    site.requests.clear()
    run(root)
    assert (root / "d/b.json").read_bytes() == CONTENT[:500]
    assert set(site.hub_requests()) == {address("json/b.json"), address("json/b.json", OTHER_COMMIT)}


def test_a_file_that_changed_on_the_hub_is_refused_before_it_is_fetched(site, root):
    site.add("hub/json/a.json", CONTENT)
    site.add("hub/json/b.json", CONTENT[:500])
    run(root)
    site.commit = OTHER_COMMIT
    site.add("hub/json/a.json", b"changed")
    (root / "d/a.json").unlink()
    site.requests.clear()
    changed = hashlib.sha256(b"changed").hexdigest()
    reason = rf"SHA-256 is {changed}, as the hub states; expected {SHA256} \(recorded in .*/it\.csv when it was first"
    with pytest.raises(InputError, match=reason):
        run(root)
    assert site.ranges(address("json/a.json", OTHER_COMMIT)) == []


def test_a_small_file_that_changed_on_the_hub_is_refused(site, root):
    """The hub states git's digest of a file outside LFS, and no SHA-256."""
    site.add("hub/json/a.json", CONTENT, lfs=False)
    site.add("hub/json/b.json", CONTENT, lfs=False)
    run(root)
    site.commit = OTHER_COMMIT
    site.add("hub/json/a.json", CONTENT[::-1], lfs=False)
    (root / "d/a.json").unlink()
    with pytest.raises(
        InputError, match=rf"SHA-256 is .*; expected {SHA256} \(recorded in .*/it\.csv when it was first"
    ):
        run(root)
    assert not (root / "d/a.json").exists()


@pytest.mark.parametrize("lfs", [True, False])
def test_a_digest_in_the_table_is_held_against_the_hub(site, root, lfs):
    site.add("hub/json/a.json", CONTENT, lfs=lfs)
    with pytest.raises(InputError, match=r"expected 0{64} \(config key sources\.it\.sha256\)"):
        run(root, HUB.model_copy(update={"sha256": {"json/a.json": "0" * 64}}))


def test_a_part_is_resumed_in_another_run(site, root):
    file = site.add("hub/json/a.json", CONTENT, faults=[("cut", 80_000), 503, 503, 503])
    site.add("hub/json/b.json", CONTENT)
    with pytest.raises(InputError, match="HTTP 503"):
        run(root)
    assert not (root / "d").exists()
    file.faults.clear()
    run(root)
    assert site.ranges(address("json/a.json", COMMIT))[-1] == "bytes=80000-"
    assert (root / "d/a.json").read_bytes() == CONTENT


@pytest.mark.parametrize("lfs", [True, False])
def test_content_that_is_not_what_the_hub_states_is_refused(site, root, lfs):
    file = site.add("hub/json/a.json", CONTENT, lfs=lfs)

    def swap(served):
        served.content = bytes(len(CONTENT))  # sent after the digest was stated

    file.faults.append(swap)
    with pytest.raises(
        InputError, match=r"/json/a.json: (SHA-256|git's SHA-1) is .* expected .* \(as the hub states\)"
    ):
        run(root)
    assert not (root / "d").exists()


@pytest.mark.parametrize(
    "source, reason",
    [
        (HUB.model_copy(update={"repo": "no/such"}), "/datasets/no/such/resolve/main/json/a.json: HTTP 404"),
        (HUB.model_copy(update={"revision": "v9"}), "/resolve/v9/json/a.json: HTTP 404"),
    ],
)
def test_what_the_hub_does_not_have_is_refused_at_once(site, root, source, reason):
    with pytest.raises(InputError, match=reason):
        run(root, source)
    assert len(site.hub_requests()) == 1


def test_the_hub_says_how_long_to_wait(site, root, caplog):
    site.add("hub/json/a.json", CONTENT, faults_of_head=[(429, {"Retry-After": "1"})])
    site.add("hub/json/b.json", b"{}")
    with caplog.at_level("WARNING"):
        run(root)
    assert "HTTP 429; again in 1.0 s" in caplog.text


def test_a_hub_whose_name_does_not_resolve_is_tried_once(root, monkeypatch, caplog):
    monkeypatch.setenv("HF_ENDPOINT", "http://no-hub.invalid")
    with pytest.raises(InputError, match=r"no-hub.invalid/datasets.*its host's name does not resolve\)\n") as error:
        run(root)
    assert "given up" not in str(error.value) and "again" not in caplog.text


def test_a_hub_that_does_not_answer_is_given_up(root, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="127.0.0.1:9/datasets.*the connection failed .*given up after 3 attempts"):
        run(root)


# --- Google Drive -------------------------------------------------------------------------------------------------------


def drive_settings(site):
    return SETTINGS.model_copy(update={"mirrors": {DRIVE: f"{site.url}/"}})


def test_a_file_of_google_drive_comes_from_its_direct_address(site, root):
    site.add(DRIVE_FILE, CONTENT, etag=None, faults=[503])
    run(root, DRIVEN, settings=drive_settings(site))
    assert (root / "d/a.json").read_bytes() == CONTENT
    assert recorded(root, "d/a.json").sha256 == SHA256


def test_a_cut_connection_to_google_drive_is_resumed_though_it_states_no_etag(site, root):
    site.add(DRIVE_FILE, CONTENT, etag=None, faults=[("cut", 120_000)])
    run(root, DRIVEN, settings=drive_settings(site))
    assert site.ranges("/download") == [None, "bytes=120000-"]
    assert (root / "d/a.json").read_bytes() == CONTENT


def test_pieces_of_different_files_of_google_drive_are_found_out_by_the_archive(site, root):
    good, other = (tar_of({"d/a.json": os.urandom(100_000)}) for _ in range(2))
    size = max(len(good), len(other))
    good, other = good.ljust(size, b"\0"), other.ljust(size, b"\0")

    def change(served):
        served.content = other

    site.add(DRIVE_FILE, good, etag=None, faults=[("cut", 50_000), change])
    source = DRIVEN.model_copy(update={"files": ["a.tar.gz"], "unpack": "tar"})
    with pytest.raises(
        InputError, match="a.tar.gz: the archive is damaged .*it was removed: start again to fetch it anew"
    ):
        run(root, source, settings=drive_settings(site))
    run(root, source, settings=drive_settings(site))
    assert len((root / "d/a.json").read_bytes()) == 100_000


@pytest.mark.parametrize(
    "fault, requests, reason",
    [
        (404, 1, r"HTTP 404 Not Found \(Google Drive answers so where a file is not public, or when too many"),
        ("html", 1, r"answered with an HTML page, not with the file: Down for maintenance \(Google Drive answers so"),
        (500, 3, "HTTP 500 Internal Server Error; given up"),
    ],
)
def test_what_google_drive_refuses_is_refused(site, root, fault, requests, reason):
    site.add(DRIVE_FILE, CONTENT, faults=[fault] * 9)
    with pytest.raises(InputError, match=rf"/download\?id=Abc-1&export=download&confirm=t: {reason}"):
        run(root, DRIVEN, settings=drive_settings(site))
    assert len(site.requests) == requests
    assert not (root / "d").exists()


# --- a fallback ---------------------------------------------------------------------------------------------------------


def test_the_fallback_is_taken_where_the_source_fails_and_is_recorded_for_it(site, root):
    archive = site.add(DRIVE_FILE, tar_of({"data/d/a.json": CONTENT, "data/d/b.json": CONTENT}))
    fallback = DRIVEN.model_copy(update={"files": ["all.tar.gz"], "unpack": "tar", "provides": list(HUB.provides)})
    run(root, fallback=fallback, settings=drive_settings(site))
    assert (root / "d/b.json").read_bytes() == CONTENT
    assert sorted(path.name for path in (root / STATE).iterdir() if path.name[0] != ".") == ["it.csv"]
    digest = hashlib.sha256(archive.content).hexdigest()
    assert recorded(root, f"{STATE}/other/all.tar.gz").sha256 == digest
    archive.content, archive.etag = tar_of({"d/a.json": b"changed", "d/b.json": b"changed"}), '"two"'
    (root / "d/b.json").unlink()
    with pytest.raises(InputError, match=r"expected \d+ \(recorded in .*/it\.csv when it was first fetched\)"):
        run(root, fallback=fallback, settings=drive_settings(site))


def test_a_source_of_which_something_came_is_not_given_up_for_another(site, root):
    site.add("hub/json/a.json", CONTENT)
    site.add(DRIVE_FILE, CONTENT)
    with pytest.raises(InputError, match=r"\Ait: .*/json/b.json: HTTP 404.*\Z"):
        run(root, fallback=DRIVEN, settings=drive_settings(site))
    assert site.ranges("/download") == []


def test_when_both_fail_both_reasons_are_given(site, root):
    with pytest.raises(InputError, match=r"(?s)it: .*/json/a.json: HTTP 404.*\nother: .*/download\?id=Abc-1.*HTTP 404"):
        run(root, fallback=DRIVEN, settings=drive_settings(site))
