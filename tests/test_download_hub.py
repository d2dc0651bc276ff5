"""Files of the hub, from a local endpoint of its kind, and of Google Drive, through gdown from a local server."""

import hashlib
import io
import os
import tarfile

import pytest
from attribench.download.drive import DRIVE
from attribench.download.lock_file import lock_files, read_locked
from attribench.download.partial import Whole
from attribench.download.run import STATE, download
from attribench.download.table import DownloadSettings, Source
from attribench.errors import InputError
from servers import COMMIT, running_site

CONTENT = os.urandom(200_000)
SETTINGS = DownloadSettings(retries=2, backoff=0.01, timeout=5, expansion=20, keep_archives=False, mirrors={})
TEXTS = {"licence": "none", "unlocks": "a test", "benchmark": "abc"}
HUB = Source(
    kind="hub", repo="some/data", files=["json/a.json", "json/b.json"], provides=["d/a.json", "d/b.json"], **TEXTS
)
DRIVEN = Source(kind="drive", id="Abc-1", files=["a.json"], provides=["d/a.json"], **TEXTS)


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


@pytest.mark.parametrize("lfs", [True, False])
def test_files_come_at_the_commit_that_the_lock_then_keeps(site, root, lfs):
    site.add("hub/json/a.json", CONTENT, lfs=lfs)
    site.add("hub/json/b.json", CONTENT[:500], lfs=lfs)
    run(root)
    assert (root / "d/a.json").read_bytes() == CONTENT
    assert (root / "d/b.json").read_bytes() == CONTENT[:500]
    asked = [path for _, path, *_ in site.requests if path.startswith("/datasets")]
    both = [address("json/a.json", COMMIT), address("json/b.json", COMMIT)]
    assert asked == [address("json/a.json"), both[0], both[1], both[1]], "main is read once"
    locked = read_locked(root / STATE, "it")
    assert locked.revision == COMMIT
    assert locked.files["json/a.json"]["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert not (root / STATE / "it").exists()


def test_a_kept_commit_is_asked_for_and_a_present_file_is_not(site, root):
    site.add("hub/json/a.json", CONTENT)
    site.add("hub/json/b.json", CONTENT)
    run(root)
    (root / "d/b.json").unlink()
    site.requests.clear()
    run(root)
    assert {path for _, path, *_ in site.requests if path.startswith("/datasets")} == {address("json/b.json", COMMIT)}


def test_a_commit_in_the_table_counts_more_than_the_lock(site, root):
    site.add("hub/json/a.json", CONTENT)
    site.add("hub/json/b.json", CONTENT)
    run(root)
    (root / "d/b.json").unlink()
    with pytest.raises(InputError, match=f"/resolve/{'d' * 40}/json/b.json: HTTP 404"):
        run(root, HUB.model_copy(update={"revision": "d" * 40}))


def test_a_part_is_resumed_in_another_run(site, root):
    file = site.add("hub/json/a.json", CONTENT, faults=[("cut", 80_000), 503, 503, 503])
    site.add("hub/json/b.json", CONTENT)
    with pytest.raises(InputError, match="HTTP 503"):
        run(root)
    assert not (root / "d").exists()
    file.faults.clear()
    run(root)
    assert site.bytes_sent(address("json/a.json", COMMIT))[-1] == "bytes=80000-"
    assert (root / "d/a.json").read_bytes() == CONTENT


@pytest.mark.parametrize("lfs", [True, False])
def test_content_that_is_not_what_the_hub_states_is_refused(site, root, lfs):
    file = site.add("hub/json/a.json", CONTENT, lfs=lfs)

    def swap(served):
        served.content = bytes(len(CONTENT))  # sent beside the old digest, which was asked for before

    file.faults.append(swap)
    with pytest.raises(
        InputError, match=r"/json/a.json: (SHA-256|git's SHA-1) is .* expected .* \(as the hub states\)"
    ):
        run(root)
    assert not (root / "d").exists()


def test_content_that_is_not_what_was_first_fetched_is_refused_before_it_is_fetched(site, root):
    site.add("hub/json/a.json", CONTENT)
    (root / STATE).mkdir(parents=True)
    lock_files(root / STATE, "it", {"json/a.json": Whole(3, "0" * 64, "http://somewhere")})
    with pytest.raises(
        InputError, match=r"as the hub states; expected 0{64} \(recorded in .*lock.json when it was first"
    ):
        run(root)
    assert site.bytes_sent(address("json/a.json")) == []


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
    assert len([path for _, path, *_ in site.requests if path.startswith("/datasets")]) == 1


def test_a_hub_that_does_not_answer_is_given_up(root, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="127.0.0.1:9/datasets.*the connection failed .*given up after 3 attempts"):
        run(root)


def drive_settings(site):
    return SETTINGS.model_copy(update={"mirrors": {DRIVE: f"{site.url}/"}})


def test_a_file_of_google_drive_comes_through_gdown(site, root):
    site.add("/uc", CONTENT, faults=[503])
    run(root, DRIVEN, settings=drive_settings(site))
    assert (root / "d/a.json").read_bytes() == CONTENT
    assert read_locked(root / STATE, "it").files["a.json"]["sha256"] == hashlib.sha256(CONTENT).hexdigest()


def test_gdown_resumes_a_cut_connection(site, root):
    large = CONTENT * 8
    site.add("/uc", large, faults=[("cut", 1_200_000)])
    run(root, DRIVEN, settings=drive_settings(site))
    assert "bytes=1048576-" in site.bytes_sent("/uc"), "gdown writes blocks of 512 KiB"
    assert (root / "d/a.json").read_bytes() == large


@pytest.mark.parametrize(
    "fault, reason", [(404, "HTTP 404"), ("html", "answered with an HTML page"), (500, "HTTP 500; given up")]
)
def test_what_google_drive_refuses_is_refused(site, root, fault, reason):
    site.add("/uc", CONTENT, faults=[fault] * 9)
    with pytest.raises(InputError, match=rf"/uc\?id=Abc-1: {reason}"):
        run(root, DRIVEN, settings=drive_settings(site))
    assert not (root / "d").exists()


def test_the_fallback_is_taken_where_the_source_fails(site, root):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name in ("a.json", "b.json"):
            member = tarfile.TarInfo(f"data/d/{name}")
            member.size = len(CONTENT)
            tar.addfile(member, io.BytesIO(CONTENT))
    site.add("/uc", archive.getvalue())
    fallback = DRIVEN.model_copy(update={"files": ["all.tar.gz"], "unpack": "tar", "provides": list(HUB.provides)})
    run(root, fallback=fallback, settings=drive_settings(site))
    assert (root / "d/b.json").read_bytes() == CONTENT
    assert sorted(path.name for path in (root / STATE).iterdir() if path.name[0] != ".") == ["it.csv", "lock.json"]


def test_a_source_of_which_something_came_is_not_given_up_for_another(site, root):
    site.add("hub/json/a.json", CONTENT)
    site.add("/uc", CONTENT)
    with pytest.raises(InputError, match=r"\Ait: .*/json/b.json: HTTP 404.*\Z"):
        run(root, fallback=DRIVEN, settings=drive_settings(site))
    assert site.bytes_sent("/uc") == []


def test_when_both_fail_both_reasons_are_given(site, root):
    with pytest.raises(InputError, match=r"(?s)it: .*/json/a.json: HTTP 404.*\nother: .*/uc\?id=Abc-1: HTTP 404"):
        run(root, fallback=DRIVEN, settings=drive_settings(site))
