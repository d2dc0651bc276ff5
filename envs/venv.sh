#!/bin/sh
# Make .venv with the packages of envs/requirements.txt, each at its one version, unless it is there and whole.
#
#   envs/venv.sh PYTHON [chosen]     chosen: a .venv of another Python than PYTHON is made anew
#
# A whole .venv holds a copy of the requirements that it was made from: .venv/.ready. Nothing is ever changed or deleted
# behind a link: somebody else may use what it points to.
set -eu
python=$1
chosen=${2:-}

refuse() {
  printf '%s\n' "$1" >&2
  exit 1
}

# Two Pythons of one version may still be different ones.
identity() {
  "$1" -c 'import os, sys; print(sys.version, os.path.realpath(sys.base_prefix))' 2> /dev/null
}

is_whole() {
  [ -f .venv/.ready ] && [ "$(cat .venv/.ready)" = "$(cat envs/requirements.txt)" ] && identity .venv/bin/python > /dev/null
}

is_of_another_python() {
  [ -n "$chosen" ] && [ "$(identity .venv/bin/python)" != "$(identity "$python")" ]
}

"$python" -c '' 2> /dev/null || refuse "$python cannot be run; expected Python 3.11 or later (make PYTHON=python3.12 ...)"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  refuse "$python is $("$python" --version 2>&1); expected Python 3.11 or later (make PYTHON=python3.12 ...)"
# Snakemake does not quote the path of the Python that runs a job's script.
"$python" -c 'import os, re, sys; sys.exit(bool(re.search(r"[\s\x22\x27\\$`;&|<>()*?{}]", os.getcwd())))' ||
  refuse "$(pwd -P): its path has a space, a quote or another character that a shell reads; expected a clone whose path has
none: move it to another folder"
if is_whole && ! is_of_another_python; then
  exit 0
fi

if [ -L .venv ]; then
  refuse ".venv is a link to $(readlink .venv), which lacks the packages of envs/requirements.txt or is of another Python;
expected one that has them. It was left as it is: 'rm .venv' removes the link alone, and make then makes .venv here"
fi
if [ -e .venv ] && [ ! -f .venv/pyvenv.cfg ]; then
  refuse ".venv is there and no virtual environment; expected none, or one. It was left as it is: move it away"
fi
"$python" -c 'import ensurepip, venv' 2> /dev/null ||
  refuse "$python: venv is missing: on Debian and Ubuntu, apt install python3-venv"
"$python" -m venv --clear .venv
awk '/^[^ ]/ { uv = /^uv==/ } uv' envs/requirements.txt > .venv/uv.txt
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
.venv/bin/uv pip install --quiet --require-hashes --python .venv/bin/python -r envs/requirements.txt
cp envs/requirements.txt .venv/.ready
