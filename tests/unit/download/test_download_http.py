"""Files over HTTP, from a real server with every fault that a server may have: resumed, tried again, or refused."""

import hashlib
import os
import re
import time
from email.utils import formatdate

import pytest
from attribench.common.errors import InputError
from attribench.download.address import mirrored
from attribench.download.http import Remote, fetch, retry_after
from attribench.download.partial import Partial
from attribench.download.table import DownloadSettings
from helpers.servers import running_site

CONTENT = os.urandom(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SETTINGS = DownloadSettings(retries=2, backoff=0.01, timeout=5, expansion=20, keep_archives=False, mirrors={})


@pytest.fixture
def site():
    with running_site() as site:
        yield site


@pytest.fixture
def partial(tmp_path):
    return Partial(tmp_path, "a.bin")


def get(site, partial, **known):
    fetch(Remote(f"{site.url}/a.bin", **known), partial, SETTINGS)
    return partial.file.read_bytes()


def refused(site, partial, reason, **known):
    with pytest.raises(InputError, match=f"^{re.escape(site.url)}/a.bin: .*{reason}"):
        get(site, partial, **known)
    assert not partial.file.exists()
    assert partial.whole is None


def statuses(site):
    return [status for *_, status in site.requests]


def test_a_whole_file_comes_in_one_piece_with_its_digest(site, partial):
    site.add("/a.bin", CONTENT)
    assert get(site, partial) == CONTENT
    assert (partial.whole.bytes, partial.whole.sha256) == (len(CONTENT), SHA256)
    assert not partial.part.exists()


def test_a_cut_connection_is_resumed_where_it_was_cut(site, partial):
    site.add("/a.bin", CONTENT, faults=[("cut", 100_000), ("cut", 50_000)])
    assert get(site, partial) == CONTENT
    assert site.ranges("/a.bin") == [None, "bytes=100000-", "bytes=150000-"]


def test_a_server_may_send_less_than_the_range_that_is_asked_for(site, partial):
    site.add("/a.bin", CONTENT, faults=[("cut", 100_000)], longest_range=150_000)
    assert get(site, partial) == CONTENT
    assert site.ranges("/a.bin") == [None, "bytes=100000-", "bytes=250000-"]


def test_more_cuts_than_retries_are_no_reason_to_give_up_while_bytes_come(site, partial):
    site.add("/a.bin", CONTENT, faults=[("cut", 40_000)] * 7)
    assert get(site, partial) == CONTENT
    assert len(site.requests) == 8


def test_the_wait_begins_with_the_backoff_and_doubles(site, partial, caplog):
    site.add("/a.bin", CONTENT, faults=[503, 503])
    fetch(Remote(f"{site.url}/a.bin"), partial, SETTINGS.model_copy(update={"backoff": 0.1}))
    waits = [re.search(r"again in (.*) s", message)[1] for message in caplog.messages if "again" in message]
    assert waits == ["0.1", "0.2"]


def test_a_name_that_does_not_resolve_is_tried_once(partial, caplog):
    url = "http://no-such-host.invalid/a.bin"
    with pytest.raises(InputError) as error:
        fetch(Remote(url), partial, SETTINGS)
    assert str(error.value) == f"{url}: the connection failed (its host's name does not resolve)"
    assert not caplog.messages


def test_what_came_before_the_process_ended_is_kept(site, partial, tmp_path):
    file = site.add("/a.bin", CONTENT, faults=[("cut", 100_000), 503, 503, 503])
    with pytest.raises(InputError, match="HTTP 503 Service Unavailable; given up after 3 attempts"):
        get(site, partial)
    assert partial.size == 100_000
    file.faults.clear()
    assert get(site, Partial(tmp_path, "a.bin")) == CONTENT
    assert site.ranges("/a.bin")[-1] == "bytes=100000-"


def test_another_range_than_the_one_that_is_asked_for_is_not_joined(site, partial):
    site.add("/a.bin", CONTENT, faults=[("cut", 100_000), "other range"])
    assert get(site, partial) == CONTENT
    assert statuses(site) == [200, 206, 200]


def test_a_whole_file_that_was_cut_later_is_not_taken_for_whole(site, partial):
    site.add("/a.bin", CONTENT)
    get(site, partial)
    os.truncate(partial.file, 1000)
    assert partial.whole is None


def test_a_server_that_ignores_ranges_sends_the_whole_again(site, partial):
    site.add("/a.bin", CONTENT, faults=["cut"], ranges=False)
    assert get(site, partial) == CONTENT
    assert statuses(site) == [200, 200]


def test_a_server_that_ignores_ranges_and_always_cuts_is_given_up(site, partial):
    site.add("/a.bin", CONTENT, faults=["cut"] * 20, ranges=False)
    refused(site, partial, "the connection failed .*given up after 3 attempts")


def test_a_file_that_changed_between_attempts_is_begun_anew(site, partial):
    other = os.urandom(280_000)

    def change(served):
        served.content, served.etag = other, '"two"'

    site.add("/a.bin", CONTENT, faults=["cut", change])
    assert get(site, partial) == other
    assert statuses(site) == [200, 200]


def test_a_change_that_the_etag_hides_is_found_by_the_digest(site, partial):
    other = os.urandom(len(CONTENT))

    def change(served):
        served.content = other

    site.add("/a.bin", CONTENT, faults=["cut", change])
    assert get(site, partial, sha256=hashlib.sha256(other).hexdigest()) == other
    assert statuses(site) == [200, 206, 200]


def test_without_validator_and_digest_pieces_are_not_joined(site, partial):
    site.add("/a.bin", CONTENT, faults=["cut"], etag=None)
    assert get(site, partial) == CONTENT
    assert site.ranges("/a.bin") == [None, None]


def test_a_digest_alone_allows_to_resume(site, partial):
    site.add("/a.bin", CONTENT, faults=["cut"], etag=None)
    assert get(site, partial, sha256=SHA256) == CONTENT
    assert site.ranges("/a.bin") == [None, "bytes=150000-"]


def test_a_weak_etag_is_no_validator(site, partial):
    site.add("/a.bin", CONTENT, faults=["cut"], etag='W/"one"')
    assert get(site, partial) == CONTENT
    assert site.ranges("/a.bin") == [None, None]


def test_a_missing_file_is_refused_at_once(site, partial):
    refused(site, partial, "HTTP 404 Not Found")
    assert len(site.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_fault_that_may_pass_is_tried_again(site, partial, status):
    site.add("/a.bin", CONTENT, faults=[status, status])
    assert get(site, partial) == CONTENT
    assert statuses(site) == [status, status, 200]


def test_a_fault_that_stays_is_given_up(site, partial):
    site.add("/a.bin", CONTENT, faults=[500] * 9)
    refused(site, partial, "HTTP 500 Internal Server Error; given up after 3 attempts")
    assert len(site.requests) == 3


def test_the_server_says_how_long_to_wait(site, partial, caplog):
    site.add("/a.bin", CONTENT, faults=[(429, {"Retry-After": "1"})])
    with caplog.at_level("WARNING"):
        assert get(site, partial) == CONTENT
    assert "HTTP 429 Too Many Requests; again in 1.0 s" in caplog.text


def test_a_wait_is_a_number_or_a_date():
    soon, past = (formatdate(seconds, usegmt=True) for seconds in (time.time() + 90, 1e9))
    for stated, seconds in (("120", 120), (soon, 90), (past, 0), ("soon", 0), ("", 0)):
        assert retry_after({"Retry-After": stated}) == pytest.approx(seconds, abs=5), stated


def test_an_empty_file_is_none(site, partial):
    site.add("/a.bin", b"")
    refused(site, partial, "sent an empty file; given up after 3 attempts")
    assert get(site, partial, size=0) == b"", "the hub says that it is"


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/octet-stream"])
def test_an_html_page_is_no_file(site, partial, content_type):
    site.add("/a.bin", CONTENT, faults=["html"] * 9, content_type=content_type)
    refused(site, partial, "answered with an HTML page, not with the file: Down for maintenance; given up")


def test_an_html_page_for_the_rest_does_not_spoil_what_came(site, partial):
    site.add("/a.bin", CONTENT, faults=["cut", "html"])
    assert get(site, partial) == CONTENT


def test_a_short_body_is_never_whole(site, partial):
    """The server states the right length and sends less."""
    site.add("/a.bin", CONTENT, faults=[("cut", 0)] * 9)
    refused(site, partial, "the connection failed")


def test_a_wrong_length_is_found_by_the_known_size(site, partial):
    """The server states, and sends, too little."""
    site.add("/a.bin", CONTENT, length=1000)
    refused(site, partial, f"is 1000 bytes long; expected {len(CONTENT)}", size=len(CONTENT))


def test_a_wrong_length_is_found_by_the_digest(site, partial):
    site.add("/a.bin", CONTENT, length=1000)
    refused(site, partial, f"SHA-256 is [0-9a-f]{{64}}; expected {SHA256} \\(says the test\\)", sha256=SHA256,
            known_from=" (says the test)")  # fmt: skip
    assert len(site.requests) == 1
    assert partial.size == 0


def test_a_part_that_is_longer_than_the_file_is_begun_anew(site, partial):
    file = site.add("/a.bin", CONTENT, faults=["cut", 404], etag='"same"')
    with pytest.raises(InputError):
        get(site, partial)
    file.content = CONTENT[:1000]
    assert get(site, partial) == CONTENT[:1000]


def test_a_file_that_came_whole_before_a_kill_is_not_asked_for_again(site, partial):
    file = site.add("/a.bin", CONTENT, faults=["cut", 404])
    with pytest.raises(InputError):
        get(site, partial)
    partial.part.write_bytes(CONTENT)
    asked = len(site.requests)
    assert get(site, partial) == CONTENT
    assert len(site.requests) == asked, file


def test_no_answer_is_given_up(site, partial):
    with pytest.raises(InputError, match="127.0.0.1:9/a.bin: the connection failed .*given up after 3 attempts"):
        fetch(Remote("http://127.0.0.1:9/a.bin"), partial, SETTINGS)


def test_a_mirror_takes_the_place_of_the_longest_beginning():
    mirrors = {"https://a/": "http://m/", "https://a/b/": "http://n/x/"}
    assert mirrored("https://a/b/c.tar", mirrors) == "http://n/x/c.tar"
    assert mirrored("https://a/c.tar", mirrors) == "http://m/c.tar"
    assert mirrored("https://z/c.tar", mirrors) == "https://z/c.tar"
