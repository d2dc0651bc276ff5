"""One source's job: what it provides comes whole or not at all, after a kill too, and must be as it was recorded."""

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
from attribench.common.errors import InputError
from attribench.download.download import download
from attribench.download.table import STATE, DownloadSettings, Source
from attribench.provenance.fingerprints import read_record
from filelock import FileLock
from helpers.archives import contents, make_volumes, tar_of
from helpers.clone import REPOSITORY
from helpers.servers import running_site

SETTINGS = DownloadSettings(retries=1, backoff=0.01, timeout=20, expansion=20, keep_archives=False, mirrors={})
TEXTS = {"licence": "none", "unlocks": "a test", "benchmark": "abc"}
IMAGES = {f"exemplar/{i}.png": os.urandom(2000) for i in range(40)}
WEIGHTS = {"weights/a.pth": os.urandom(3000), "weights/b.pth": os.urandom(3000)}


@pytest.fixture
def site():
    with running_site() as site:
        yield site


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def source(site, files, provides, **more):
    return Source(kind="http", url=f"{site.url}/", files=files, provides=provides, **{**TEXTS, **more})


def weights(site, **more):
    return source(site, ["w.tar.gz"], list(WEIGHTS), unpack="tar", **more)


def run(root, row, token="token", wanted=None, settings=SETTINGS):
    download(root, [("it", row)], list(row.provides) if wanted is None else wanted, token, settings)


def recorded(root):
    return read_record(root / STATE / "it.csv").fingerprints


def state(root):
    return sorted(path.name for path in (root / STATE).iterdir() if path.name[0] != ".")


def given(root):
    return {path: content for path, content in contents(root).items() if not path.startswith(STATE)}


def test_volumes_become_a_folder_and_are_removed(site, root, tmp_path):
    volumes = make_volumes(tmp_path, IMAGES, size=30_000)
    for path in volumes:
        site.add(f"/x/{path.name}", path.read_bytes(), faults=["cut"])
    row = source(site, [f"x/{path.name}" for path in volumes], ["dataset/exemplar/"], unpack="7z")
    run(root, row)
    assert given(root) == {f"dataset/{path}": content for path, content in IMAGES.items()}
    assert state(root) == ["it.csv"]
    assert read_record(root / STATE / "it.csv").token == "token"
    digests = {f"{STATE}/it/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in volumes}
    assert {path: found.sha256 for path, found in recorded(root).items()} == digests
    assert len(digests) == 3


def test_archives_are_kept_where_that_is_wanted(site, root):
    site.add("/w.tar.gz", tar_of(WEIGHTS))
    run(root, weights(site), settings=SETTINGS.model_copy(update={"keep_archives": True}))
    assert (root / STATE / "it/files/w.tar.gz").exists()
    assert not list((root / STATE / "it").glob("unpacked*"))
    (root / "weights/b.pth").unlink()
    run(root, weights(site))
    assert given(root) == WEIGHTS
    assert len(site.requests) == 1


def test_files_that_are_there_stay_and_are_not_recorded(site, root):
    (root / "weights").mkdir(parents=True)
    (root / "weights/a.pth").write_text("mine")
    site.add("/w.tar.gz", tar_of(WEIGHTS))
    run(root, weights(site))
    assert given(root) == {"weights/a.pth": b"mine", "weights/b.pth": WEIGHTS["weights/b.pth"]}
    assert "weights/a.pth" not in recorded(root)
    assert recorded(root)["weights/b.pth"].bytes == 3000


def test_without_a_connection_the_message_says_what_else_brings_the_files(root, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://no-hub.invalid")
    one = {
        "kind": "hub",
        "repo": "some/data",
        "files": ["a/one.json", "two.json"],
        "provides": ["j/one.json", "j/two.json"],
    }
    packed = {
        "kind": "http",
        "url": "http://no-such-host.invalid/x/",
        "files": ["w.tar"],
        "provides": ["w/"],
        "unpack": "tar",
    }
    (root / "j").mkdir(parents=True)
    (root / "j/two.json").touch()
    for row, line in (
        (one, f"  {root}/j/one.json  <-  https://huggingface.co/datasets/some/data/resolve/main/a/one.json"),
        (packed, f"  {root}/w  <-  unpacked from http://no-such-host.invalid/x/w.tar"),
    ):
        with pytest.raises(InputError) as error:
            run(root, Source(**row, **TEXTS))
        reason, ways, *files = str(error.value).splitlines()
        assert "does not resolve" in reason and "HF_ENDPOINT" in ways and "download.mirrors" in ways and files == [line]


def test_nothing_is_fetched_where_all_is_there(site, root):
    for path, content in WEIGHTS.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    run(root, weights(site))
    assert site.requests == []
    assert recorded(root) == {}


def test_a_deleted_file_comes_again_and_must_be_what_it_was(site, root):
    file = site.add("/w.tar.gz", tar_of(WEIGHTS))
    run(root, weights(site))
    (root / "weights/a.pth").unlink()
    run(root, weights(site))
    assert given(root) == WEIGHTS
    (root / "weights/a.pth").unlink()
    file.content, file.etag = tar_of({**WEIGHTS, "weights/a.pth": b"other"}), '"two"'
    with pytest.raises(
        InputError, match=r"w\.tar\.gz: is \d+ bytes long; expected \d+ \(recorded in .*/it\.csv when it was first"
    ):
        run(root, weights(site))
    (root / STATE / "it.csv").unlink()
    run(root, weights(site))
    assert (root / "weights/a.pth").read_bytes() == b"other"


def test_a_file_that_another_archive_has_changed_is_refused_with_what_to_remove(site, root):
    """The table may name another archive, whose digest is in no record; its files are."""
    site.add("/w.tar.gz", tar_of(WEIGHTS))
    run(root, weights(site))
    (root / "weights/a.pth").unlink()
    site.add("/new.tar.gz", tar_of({**WEIGHTS, "weights/a.pth": b"other"}))
    moved = source(site, ["new.tar.gz"], list(WEIGHTS), unpack="tar")
    reason = (
        r"weights/a.pth: SHA-256 is .*, which source it gave before. To take the new one, remove .downloads/it.csv$"
    )
    with pytest.raises(InputError, match=reason):
        run(root, moved)
    (root / STATE / "it.csv").unlink()
    run(root, moved)
    assert (root / "weights/a.pth").read_bytes() == b"other"


def test_a_file_that_is_no_archive_must_be_what_it_was(site, root):
    file = site.add("/a.txt", b"as it was")
    row = source(site, ["a.txt"], ["d/a.txt"])
    run(root, row)
    (root / "d/a.txt").unlink()
    file.content, file.etag = b"as it is!", '"two"'
    with pytest.raises(
        InputError, match=r"a\.txt: SHA-256 is .*; expected .* \(recorded in .*/it\.csv when it was first"
    ):
        run(root, row)
    assert given(root) == {}


def test_a_download_that_the_disk_cannot_hold_is_refused_before_it_begins(site, root):
    site.add("/w.tar.gz", tar_of(WEIGHTS))
    reason = r"root: the disk has .* free; expected 2000000.0 TB for the downloads it, unpacking included"
    with pytest.raises(InputError, match=reason):
        run(root, weights(site, size=10**18))
    assert site.requests == []


def test_a_digest_in_the_table_counts_more_than_the_record(site, root):
    site.add("/w.tar.gz", tar_of(WEIGHTS))
    run(root, weights(site))
    (root / "weights/a.pth").unlink()
    with pytest.raises(InputError, match=r"expected 0{64} \(config key sources\.it\.sha256\)"):
        run(root, weights(site, sha256={"w.tar.gz": "0" * 64}))


def test_what_the_archive_lacks_matters_only_where_it_is_wanted(site, root):
    site.add("/w.tar.gz", tar_of({"weights/a.pth": b"a"}))
    with pytest.raises(InputError, match=r"the archive has no weights/b\.pth .*at its top it has weights/"):
        run(root, weights(site), wanted=["weights/b.pth"])
    assert given(root) == {}
    run(root, weights(site), wanted=["weights/a.pth"])
    assert given(root) == {"weights/a.pth": b"a"}
    assert len(site.requests) == 1


def test_a_damaged_archive_without_a_known_digest_is_fetched_anew(site, root):
    good = tar_of(WEIGHTS)
    file = site.add("/w.tar.gz", good, length=len(good) - 500)  # the server states, and sends, too little
    with pytest.raises(InputError, match="the archive is damaged.*it was removed: start again to fetch it anew"):
        run(root, weights(site))
    assert given(root) == {}
    assert state(root) == ["it"], "a digest of a damaged file is not recorded"
    file.length = None
    run(root, weights(site))
    assert given(root) == WEIGHTS


def test_a_full_disk_is_plainly_reported_and_what_came_is_kept(site, root):
    site.add("/w.tar.gz", tar_of(WEIGHTS))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"\.downloads/it: could not be written, the disk is full"):
            run(root, weights(site))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    run(root, weights(site))
    assert site.ranges("/w.tar.gz") == [None, "bytes=2000-"]
    assert given(root) == WEIGHTS


def test_a_whole_file_that_is_not_what_the_table_now_says_is_fetched_anew(site, root):
    site.add("/w.tar.gz", tar_of({"weights/a.pth": b"old"}))
    with pytest.raises(InputError, match="has no weights/b.pth"):
        run(root, weights(site))
    good = tar_of(WEIGHTS)
    site.add("/w.tar.gz", good, etag='"two"')
    run(root, weights(site, sha256={"w.tar.gz": hashlib.sha256(good).hexdigest()}))
    assert given(root) == WEIGHTS


def test_a_second_run_is_refused_while_one_downloads(site, root):
    (root / STATE).mkdir(parents=True)
    with FileLock(root / STATE / ".it.lock"), pytest.raises(InputError, match="another run is downloading it"):
        run(root, weights(site))


# --- killed -------------------------------------------------------------------------------------------------------------


def start(root, row):
    """A process that downloads `row`."""
    code = (
        "import json, sys\n"
        "from attribench.download.download import download\n"
        "from attribench.download.table import DownloadSettings, Source\n"
        "root, row, settings = json.loads(sys.argv[1])\n"
        "row = Source(**row)\n"
        "download(root, [('it', row)], row.provides, 'token', DownloadSettings(**settings))\n"
    )
    argument = json.dumps([str(root), row.model_dump(mode="json"), SETTINGS.model_dump(mode="json")])
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "workflow_scripts")}
    return subprocess.Popen([sys.executable, "-c", code, argument], env=environment, stderr=subprocess.DEVNULL)


def kill_when(process, condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_kill_during_the_download_costs_nothing_that_came(site, root):
    large = {path: os.urandom(2_000_000) for path in WEIGHTS}
    site.add("/w.tar.gz", tar_of(large), faults=[("stall", 3_000_000)])
    part = root / STATE / "it/parts/w.tar.gz"
    kill_when(start(root, weights(site)), lambda: part.exists() and part.stat().st_size >= 2 << 20)
    assert given(root) == {}
    assert not (root / STATE / "it.csv").exists()
    run(root, weights(site))
    assert given(root) == large
    assert site.ranges("/w.tar.gz") == [None, f"bytes={2 << 20}-"]


@pytest.mark.parametrize("form", ["7z", "tar"])
def test_a_kill_during_the_unpacking_leaves_no_part_of_a_folder(site, root, tmp_path, form):
    images = {f"exemplar/{i}.png": os.urandom(1000) for i in range(1500)}
    if form == "7z":
        names = [site.add(f"/{p.name}", p.read_bytes()) and p.name for p in make_volumes(tmp_path, images, 800_000)]
    else:
        names = ["images.tar"]
        site.add("/images.tar", tar_of(images, "w"))
    row = source(site, names, ["dataset/exemplar/"], unpack=form)
    kill_when(start(root, row), lambda: any((root / STATE).glob("it/unpacked-*/exemplar/*")))
    assert given(root) == {}
    assert not (root / STATE / "it.csv").exists()
    asked = len(site.requests)
    run(root, row)
    assert given(root) == {f"dataset/{path}": content for path, content in images.items()}
    assert len(site.requests) == asked, "nothing is fetched again"
    shutil.rmtree(root)
