"""A real server on the loopback for the tests of downloads: files with faults, and an endpoint of the hub's kind."""

import hashlib
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40


@dataclass
class Served:
    """Hold a file, and how it is served. `faults`: what the next requests get instead, in order; see `Handler`."""

    content: bytes
    etag: str | None = '"one"'
    faults: list = field(default_factory=list)
    faults_of_head: list = field(default_factory=list)  # the same of requests for the headers alone
    ranges: bool = True
    longest_range: int | None = None  # bytes that an answer to a range holds at most
    content_type: str = "application/octet-stream"
    length: int | None = None  # a Content-Length that is not the true one
    lfs: bool = True  # on the hub


@dataclass
class Site:
    """Hold a running server: its files by path, and its requests, each as (method, path, Range, status).

    Files of the hub are added as `hub/FILE`; they belong to the present `commit`, which is what the branch main is.
    """

    url: str
    commit: str = COMMIT
    files: dict[str, Served] = field(default_factory=dict)
    requests: list = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def add(self, path: str, content: bytes, **options) -> Served:
        """Serve `content` at `path`; a path with a query is served for that query alone."""
        if path.startswith("hub/"):
            path = f"{self.commit}/{path.removeprefix('hub/')}"
        self.files[path] = Served(content, **options)
        return self.files[path]

    def ranges(self, path: str) -> list:
        """Return the Range headers of the GET requests for `path`."""
        return [header for method, requested, header, _ in self.requests if (method, requested) == ("GET", path)]

    def hub_requests(self) -> list[str]:
        """Return the paths of the requests to the hub."""
        return [path for _, path, *_ in self.requests if path.startswith("/datasets")]


class Handler(BaseHTTPRequestHandler):
    """Serve the site's files.

    A fault is a status, (status, headers), "html", "cut", ("cut", bytes), ("stall", bytes), "other range" (as many bytes as
    requested, from the file's beginning), or a function that changes the file.
    """

    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._serve(with_body=False)

    def do_GET(self):
        self._serve(with_body=True)

    def _serve(self, with_body):
        path = self.path.split("?")[0]
        commit, hub_file = self._on_hub(path)
        files = self.site.files
        served = files.get(self.path) or files.get(path) or files.get(f"{commit}/{hub_file}")
        if served is None:
            headers = {"Content-Type": "text/html"} | ({"X-Error-Code": "EntryNotFound"} if hub_file else {})
            return self._answer(404, b"not here", headers, with_body)
        faults = served.faults if with_body else served.faults_of_head
        fault = faults.pop(0) if faults else None
        if callable(fault):
            fault = fault(served)
        if isinstance(fault, int):
            return self._answer(fault, b"a fault", {}, with_body)
        if isinstance(fault, tuple) and isinstance(fault[0], int):
            return self._answer(fault[0], b"a fault", fault[1], with_body)
        if fault == "html":
            page = b"<!DOCTYPE html><html><title>Down for maintenance</title></html>"
            return self._answer(200, page, {"Content-Type": served.content_type}, with_body)
        self._send_file(served, fault, with_body, self._hub_headers(served, commit) if commit else {})

    def _on_hub(self, path):
        """Return commit and file of an address of the hub's kind: [/datasets]/OWNER/NAME/resolve/REVISION/FILE."""
        parts = re.fullmatch(r"(?:/datasets)?/[^/]+/[^/]+/resolve/(main|[0-9a-f]{40})/(.+)", path)
        return (self.site.commit if parts[1] == "main" else parts[1], parts[2]) if parts else (None, None)

    def _send_file(self, served, fault, with_body, more_headers):
        headers = {"Content-Type": served.content_type, "Accept-Ranges": "bytes"}
        if served.etag:
            headers["ETag"] = served.etag
        headers |= more_headers
        start, status = 0, 200
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and served.ranges and self.headers.get("If-Range") in (None, served.etag):
            start, status = int(asked[1]), 206
            if start >= len(served.content):
                return self._answer(416, b"", {"Content-Range": f"bytes */{len(served.content)}"}, with_body)
        body = served.content[start:]
        if fault == "other range":
            start, body, fault = 0, served.content[: len(body)], None
        if status == 206:
            body = body[: served.longest_range]
            headers["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{len(served.content)}"
        headers["Content-Length"] = str(len(body) if served.length is None else served.length)
        if served.length is not None:
            body = body[: served.length]
        cut = fault[1] if isinstance(fault, tuple) else len(body) // 2 if fault == "cut" else None
        end = False if cut is None else fault[0] if isinstance(fault, tuple) else fault
        self._answer(status, body if cut is None else body[:cut], headers, with_body, end)

    def _hub_headers(self, served, commit):
        digest = (
            hashlib.sha256(served.content).hexdigest()
            if served.lfs
            else hashlib.sha1(b"blob %d\0" % len(served.content) + served.content).hexdigest()
        )
        headers = {"X-Repo-Commit": commit, "ETag": f'"{digest}"'}
        if served.lfs:
            headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(served.content))}
        return headers

    def _answer(self, status, body, headers, with_body, cut=False):
        self.site.requests.append((self.command, self.path.split("?")[0], self.headers.get("Range"), status))
        self.send_response(status)
        headers.setdefault("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)
            self.wfile.flush()
        if cut == "stall":
            self.site.ended.wait()
        if cut:
            self.close_connection = True
            self.connection.close()


@contextmanager
def running_site():
    """Run a server on a free port of the loopback until the block ends."""
    handler = type("SiteHandler", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # of clients that are gone
    handler.site = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield handler.site
    finally:
        handler.site.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
