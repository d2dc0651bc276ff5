"""Library code run as a user whom permissions bind: tests may run as root, whom they do not."""

import subprocess
import sys
import textwrap
from pathlib import Path

LIBRARY = Path(__file__).parents[2] / "workflow_scripts"
_NOBODY = 65534

_PROGRAM = """
import os, sys
from attribench.common.errors import InputError
import attribench.common.folders, attribench.provenance.fingerprints
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid({user})
    os.setuid({user})
try:
{code}
except InputError as error:
    print(error)
    sys.exit(7)
"""


def call_unprivileged(folder: Path, code: str) -> str:
    """Run `code`, which has to raise InputError, in `folder` as a user with anyone's rights there; return its message.

    Paths in `code` have to be relative: the folders above are not made open to anyone.
    """
    folder.chmod(0o755)
    program = _PROGRAM.format(user=_NOBODY, code=textwrap.indent(textwrap.dedent(code), "    "))
    command = [sys.executable, "-c", program]
    environment = {"PYTHONPATH": str(LIBRARY)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 7, done.stdout + done.stderr
    return done.stdout.strip()
