"""Snakemake, loaded once and forked for each run of the tests: its imports would take longer than most of their runs.

The server is `python snakemake_server.py SOCKET`. What runs in a fork is what `python -m snakemake ARGUMENTS` runs; no
module of the project is loaded before the fork.
"""

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LOADED_BEFORE = (
    *("snakemake.cli", "snakemake_executor_plugin_slurm", "snakemake.report.html_reporter", "requests", "smart_open"),
    *("h5py", "pydantic", "numpy", "timm", "kornia_rs", "pillow_heif"),
)


class Server:
    """Hold the server's process, as seen from the tests."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        self._address = str(Path(self._folder.name) / "socket")
        self._process = subprocess.Popen([sys.executable, __file__, self._address], stdin=subprocess.PIPE)

    def run(
        self, arguments: list[str], folder: Path, environment: dict[str, str], timeout: float
    ) -> subprocess.CompletedProcess:
        """Run Snakemake in `folder` as `subprocess.run` would, standard error in `stdout`; TimeoutExpired as there."""
        with tempfile.TemporaryFile("w+") as output, self._connect() as connection:
            connection.settimeout(timeout)
            request = {"arguments": arguments, "folder": str(folder), "environment": environment}
            socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], [output.fileno()])
            answer = connection.makefile()
            group = int(answer.readline())
            try:
                status = int(answer.readline() or -1)  # a run that was killed says nothing
            except TimeoutError:
                os.killpg(group, signal.SIGKILL)
                raise subprocess.TimeoutExpired(arguments, timeout) from None
            output.seek(0)
            return subprocess.CompletedProcess(arguments, status, output.read())

    def _connect(self) -> socket.socket:
        for _ in range(3000):
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(self._address)
                return connection
            except (FileNotFoundError, ConnectionRefusedError):
                connection.close()
                time.sleep(0.1)
        raise RuntimeError("the process with Snakemake loaded does not answer")


def serve(address: str) -> None:
    """Answer until standard input ends, which is when the tests' process does."""
    import importlib
    import select

    for name in LOADED_BEFORE:
        importlib.import_module(name)
    sys.modules["snakemake.cli"].get_argument_parser()  # finds the plugins
    gc.freeze()  # so that forks do not touch, and copy, what is loaded
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks: they answer themselves
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        while True:
            ready, _, _ = select.select([listening, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            connection, _ = listening.accept()
            if os.fork() == 0:
                _answer(connection)
            connection.close()


def _answer(connection: socket.socket) -> None:
    """In a fork: run what is asked for, and end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    content, [output], _, _ = socket.recv_fds(connection, 1 << 20, 1)
    while not content.endswith(b"\n"):
        content += connection.recv(1 << 20)
    request = json.loads(content)
    connection.sendall(f"{os.getpid()}\n".encode())
    silent = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((silent, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    status = _snakemake(request["arguments"])
    atexit._run_exitfuncs()  # a fork ends without
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(f"{status}\n".encode())
    os._exit(0)


def _snakemake(arguments: list[str]) -> int:
    """Return the exit status of `snakemake ARGUMENTS`, as Python reckons it."""
    import traceback

    from snakemake.cli import main

    sys.argv = ["snakemake", *arguments]
    try:
        main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
