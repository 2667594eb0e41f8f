"""The house rules that a program can check."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
FOLDERS = [name for name in ("src", "tests", "benchmarks") if (ROOT / name).is_dir()]


def run(*command):
    """Run a tool in the project's folder; give its exit status and what it wrote."""
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return result.returncode, result.stdout + result.stderr


def test_ruff_check():
    """Ruff finds nothing to complain about."""
    status, output = run("ruff", "check", "--output-format=concise", *FOLDERS)
    assert status == 0, output


def test_ruff_format():
    """The code is formatted as ruff formats it."""
    status, output = run("ruff", "format", "--check", *FOLDERS)
    assert status == 0, output


def test_mypy():
    """The type hints of the package agree with its code."""
    status, output = run("mypy")
    assert status == 0, output


def test_docstrings():
    """Every public docstring has the sections and the form of numpydoc."""
    status, output = run("numpydoc", "lint", *map(str, SOURCES))
    assert status == 0, output


def test_tests_state_their_claim():
    """Every test says in a one-sentence docstring what it claims."""
    silent = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                claim = ast.get_docstring(node) or ""
                if not claim.strip().endswith(".") or "\n\n" in claim:
                    silent.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert silent == []


def test_ci_runs_what_the_readme_says():
    """The command for the tests is the same line in README.md and in .ci/run."""
    pattern = re.compile(r"^python3 -m venv .*pytest.*$", re.MULTILINE)
    blocks = re.findall(r"^```\w*\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    in_readme = [line for block in blocks for line in pattern.findall(block)]
    assert in_readme == pattern.findall((ROOT / ".ci" / "run").read_text())
    assert len(in_readme) == 1


def test_every_exception_to_a_rule_has_a_reason():
    """Each rule that is ignored, for all files or for one line, is followed by a reason."""
    text = (ROOT / "pyproject.toml").read_text()
    ignored = tomllib.loads(text)["tool"]["ruff"]["lint"]["ignore"]
    for rule in ignored:
        assert re.search(rf'"{rule}",\s+# \S', text), rule
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"(# noqa: [A-Z0-9, ]+|# type: ignore\[[\w, -]+\])\s*$", line)
    ]
    assert bare == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_algorithms_know_no_files(path):
    """A module that holds mathematics imports neither jwst, stpipe nor data models."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    if names & {"jwst", "stpipe", "stdatamodels"}:
        assert not names & {"scipy"}
