"""Golden bytes: digests of what a dear stage makes from small inputs, kept beside the stage's VERSION.

A stage's results are thrown away when its VERSION changes, and only then. So a test hands what the stage makes to `check`,
which fails when that has changed and VERSION has not. `python tests/helpers/golden_bytes.py` stores the present digests: it
runs all tests whose name has `golden_bytes` in it. If only a test's inputs changed, delete the stage in the file first.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY / "tests/data/golden_bytes.json"
COMMAND = "python tests/helpers/golden_bytes.py"
_STORE = "STORE_GOLDEN_BYTES"  # the environment variable that has `check` store digests


def digest_of(content: dict[str, np.ndarray | list | str]) -> str:
    """Return the SHA-256 of named arrays, and of texts and numbers as JSON writes them; a file's format does not count."""
    digest = hashlib.sha256()
    for name, value in sorted(content.items()):
        if isinstance(value, np.ndarray) and value.dtype != object:
            value = [value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
        elif isinstance(value, np.ndarray):
            value = value.tolist()
        digest.update(json.dumps([name, value]).encode())
    return digest.hexdigest()


def check(stage: str, version: int, content: dict, *, file: Path = FILE, store: bool = _STORE in os.environ) -> None:
    """Fail when `content` is not what the stage made when the digest of this `version` was stored.

    store: write the digest to the file, unless it changed under the same version.
    """
    golden = json.loads(file.read_text()) if file.exists() else {}
    made, stored = {"version": version, "sha256": digest_of(content)}, golden.get(stage)
    if stored == made:
        return
    if stored and stored["version"] == version:
        raise AssertionError(f"{stage} makes other results: raise its VERSION, which is {version}, and run `{COMMAND}`")
    if not store:
        kept = f"those of version {stored['version']}" if stored else "none"
        raise AssertionError(f"{stage} has VERSION {version}; {FILE.name} holds {kept}: run `{COMMAND}`")
    file.write_text(json.dumps({**golden, stage: made}, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    tests = [sys.executable, "-m", "pytest", "-q", "-k", "golden_bytes", "--continue-on-collection-errors"]
    sys.exit(subprocess.run(tests, cwd=REPOSITORY, env={**os.environ, _STORE: "1"}).returncode)
