"""One list of versions, for pip and for conda, that names no registry and resolves on every platform."""

import re
from pathlib import Path

import yaml

ENVS = Path(__file__).parents[3] / "envs"
REQUIREMENTS = (ENVS / "requirements.txt").read_text()


def test_conda_installs_the_same_file():
    environment = yaml.safe_load((ENVS / "environment.yaml").read_text())
    pip = next(item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    assert pip == ["-r requirements.txt"]
    others = [item for item in environment["dependencies"] if isinstance(item, str)]
    assert [name.split()[0] for name in others] == ["python", "pip"]
    assert others[0] == "python >=3.11"


def test_every_requirement_is_pinned_and_hashed():
    packages = re.findall(r"^[a-z0-9].*?(?=^\S|\Z)", REQUIREMENTS, re.MULTILINE | re.DOTALL)
    assert len(packages) > 100
    for package in packages:
        assert re.match(r"[\w.\-\[\]]+==\S+ ", package), package
        assert "--hash=sha256:" in package, package


def test_no_registry_is_named():
    assert "://" not in REQUIREMENTS
    assert "--index" not in REQUIREMENTS


def test_what_is_asked_for_is_what_is_locked():
    wanted = [line.split("==") for line in (ENVS / "requirements.in").read_text().splitlines() if line[:1] not in "#"]
    locked = dict(re.findall(r"^([\w.\-]+)==(\S+)", REQUIREMENTS, re.MULTILINE))
    for name, *version in wanted:
        name = name.lower().replace("_", "-")
        assert name in locked
        assert not version or locked[name] == version[0]


def test_what_only_linux_has_is_asked_for_on_linux_only():
    """CUDA's packages have no macOS builds: without the marker, nothing would install there."""
    cuda = re.findall(r"^(nvidia-[\w\-]+|triton)==(.*)", REQUIREMENTS, re.MULTILINE)
    assert cuda
    for name, rest in cuda:
        assert "sys_platform == 'linux'" in rest, name
