"""Pages that no other test reads: the map of the code leads to files, links lead somewhere, the citation file is whole."""

import re

import pytest
import yaml
from helpers.clone import REPOSITORY

CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text()
FOLDERS = (REPOSITORY, REPOSITORY / "workflow_scripts/attribench")


def test_the_map_of_the_code_answers_ten_questions_with_files_that_are_there():
    rows = re.findall(r"^\| (\d+)\. (.*\?) \| (.*) \|$", CONTRIBUTING, re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == [*range(1, 11)]
    for _, question, where in rows:
        paths = [name for name in re.findall(r"`([\w./]+)`", where) if "STAGE" not in name]
        assert paths, question
        for path in paths:
            assert any((folder / path).exists() for folder in FOLDERS), f"{path} is not there"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_to_files(page):
    """The site's build checks those of docs/."""
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (REPOSITORY / page).read_text())
    assert links
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


def test_commands_and_paths_of_contributing_are_there():
    makefile = (REPOSITORY / "Makefile").read_text()
    blocks = "".join(re.findall(r"```sh\n(.*?)```", CONTRIBUTING, re.DOTALL))
    for target in re.findall(r"^make (\w+)", blocks, re.MULTILINE):
        assert f"\n{target}:" in makefile, target
    for path in re.findall(r"\b(tests/[\w./]+)", CONTRIBUTING):
        assert (REPOSITORY / path).exists(), path


def test_the_citation_file_names_the_project_and_the_paper():
    """The keys that version 1.2.0 of the Citation File Format wants, of a file and of a reference."""
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert citation["message"] and citation["title"] == "attribench"
    assert citation["authors"] == [{"name": "attribench contributors"}]
    assert citation["license"] == "MIT" and "MIT" in (REPOSITORY / "LICENSE").read_text()
    [paper] = citation["references"]
    assert paper["type"] == "conference-paper" and paper["year"] == 2023
    assert [author["family-names"] for author in paper["authors"]] == ["Wang", "Efros", "Zhu", "Zhang"]
    assert "2306.09345" in paper["url"]
