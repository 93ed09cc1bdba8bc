"""binder/ keeps step with pyproject.toml, and its two scripts do what they should."""

import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
BINDER = ROOT / "binder"
CONDA_NAMES = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}  # where conda-forge calls it otherwise
NOT_OURS = {"python", "pip"}


def conda_requirements() -> dict[str, Requirement]:
    lines = (BINDER / "environment.yml").read_text().split("dependencies:\n")[1].splitlines()
    items = [line.split("#")[0].strip().removeprefix("- ") for line in lines]
    found = [Requirement(item.replace("python=3", "python==3")) for item in items if item]
    return {requirement.name: requirement for requirement in found}


def our_requirements() -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["demo"]])
    return {CONDA_NAMES.get(requirement.name, requirement.name): requirement for requirement in found}


def test_every_dependency_is_there_with_the_same_bound():
    conda, ours = conda_requirements(), our_requirements()
    assert set(conda) - NOT_OURS == set(ours)
    assert {name: str(conda[name].specifier) for name in ours} == {name: str(r.specifier) for name, r in ours.items()}


def test_python_is_one_that_the_package_allows():
    allowed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    (python,) = conda_requirements()["python"].specifier
    assert Requirement(f"x{allowed}").specifier.contains(python.version)


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_scripts_can_be_executed(name):
    assert (BINDER / name).stat().st_mode & stat.S_IXUSR
    subprocess.run(["bash", "-n", BINDER / name], check=True)


def test_start_hands_over_with_one_thread():
    code = "import os, sys; print(os.environ['OMP_NUM_THREADS'], sys.argv[1:])"
    shown = subprocess.run(
        [BINDER / "start", sys.executable, "-c", code, "an argument"], capture_output=True, text=True, check=True
    )
    assert shown.stdout == "1 ['an argument']\n"


def test_post_build_installs_the_package_and_warms_the_cache(tmp_path):
    calls = tmp_path / "calls"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$LHEXPLORE_LAB $@" >> {calls}\n')
    python.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "LHEXPLORE_LAB": "1"}
    subprocess.run([BINDER / "postBuild"], check=True, env=environment, cwd=ROOT)
    assert calls.read_text() == "1 -m pip install --no-deps .\n0 -m lhexplore demo\n"
