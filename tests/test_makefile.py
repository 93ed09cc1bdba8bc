"""The commands of the Makefile, run for real with stand-ins for the programs they call."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
PROGRAMS = ("pip", "python", "pytest", "ruff", "mypy", "lint-imports")


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A folder with a space in its name that holds what make needs."""
    folder = tmp_path / "a check out"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def installed(checkout) -> Path:
    """The same, with a .venv whose programs only write down how they were called."""
    programs = checkout / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in PROGRAMS:
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $@" >> calls\n')
        (programs / name).chmod(0o755)
    return checkout


def make(folder: Path, *arguments: str, home: Path | None = None) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "PYTHON"))}
    environment["HOME"] = str(home or folder)
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def calls(folder: Path) -> list[str]:
    lines = (folder / "calls").read_text().splitlines()
    (folder / "calls").unlink()
    return lines


@needs_make
def test_a_second_demo_installs_nothing(installed):
    assert make(installed, "demo").returncode == 0
    assert calls(installed) == [
        "python -m pip install -c constraints.txt -e .[demo]",
        "python -m lhexplore demo",
    ]
    assert make(installed, "demo").returncode == 0
    assert calls(installed) == ["python -m lhexplore demo"]


@needs_make
def test_new_settings_are_installed(installed):
    make(installed, "demo")
    calls(installed)
    stamp = installed / ".venv" / ".installed-demo"
    later = stamp.stat().st_mtime + 10
    os.utime(installed / "constraints.txt", (later, later))
    make(installed, "demo")
    assert "pip install" in calls(installed)[0]


@needs_make
def test_a_failed_installation_is_tried_again(installed):
    python = installed / ".venv" / "bin" / "python"
    works = python.read_text()
    python.write_text("#!/bin/sh\nexit 1\n")
    assert make(installed, "demo").returncode != 0
    python.write_text(works)
    assert make(installed, "demo").returncode == 0
    assert "pip install" in calls(installed)[0]


@needs_make
def test_test_runs_tests_then_notebooks(installed):
    assert make(installed, "test").returncode == 0
    install, quick, browser, alone, notebooks = calls(installed)
    assert install.endswith("-e .[test]")
    kinds = [re.search("-m (.*?)(?: -n|$)", line)[1] for line in (quick, browser, alone)]
    assert kinds == ["not alone and not browser", "browser and not alone", "alone"]  # between them, every test
    assert notebooks.startswith("pytest --nbval --nbval-current-env")
    assert notebooks.endswith(" notebooks")


@needs_make
def test_lint_runs_every_check(installed):
    assert make(installed, "lint").returncode == 0
    assert calls(installed)[1:] == ["ruff check", "ruff format --check", "mypy ", "lint-imports "]


@needs_make
def test_help_names_every_target_and_is_the_default(checkout):
    shown = make(checkout).stdout
    assert shown == make(checkout, "help").stdout
    (targets,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in targets.split():
        assert target == "help" or f"make {target} " in shown


@needs_make
def test_an_older_python_is_refused_with_words(checkout):
    old = checkout.parent / "python old"
    pretend = "import sys; sys.version_info = (3, 10, 4, 'final', 0)"
    old.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{pretend}\n$2"\n')
    old.chmod(0o755)
    result = make(checkout, "demo", f"PYTHON={old}")
    assert result.returncode != 0
    assert "needs Python 3.11 or newer" in result.stderr
    assert "is 3.10" in result.stderr
    assert not (checkout / ".venv").exists()


@needs_make
def test_the_environment_is_made_once_with_pip_in_it(checkout):
    assert make(checkout, ".venv/bin/pip", f"PYTHON={sys.executable}").returncode == 0
    subprocess.run([checkout / ".venv" / "bin" / "python", "-m", "pip", "--version"], check=True, capture_output=True)
    again = make(checkout, ".venv/bin/pip", f"PYTHON={sys.executable}")
    assert "up to date" in again.stdout


def test_lines_are_ones_a_person_can_type():
    lines = [line[1:] for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("\t")]
    shown = [line for line in lines if not line.startswith("@")]
    assert shown
    assert max(map(len, shown)) <= 100
    assert not any(word in line for line in shown for word in (";", "if ", "for ", "$$", "\\"))


def pins() -> dict[str, Requirement]:
    lines = (line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    return {requirement.name.lower(): requirement for requirement in map(Requirement, filter(None, lines))}


def test_constraints_pin_every_dependency_within_its_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    needed = [r for r in map(Requirement, chain(*groups)) if r.name != "lhexplore"]
    pinned = pins()
    assert {r.name.lower() for r in needed} <= set(pinned)
    for requirement in needed:
        (pin,) = pinned[requirement.name.lower()].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), requirement


@pytest.mark.parametrize("name", ["Makefile", "constraints.txt", "pyproject.toml", ".ci/run", "binder/environment.yml"])
def test_no_package_host_is_named(name):
    text = (ROOT / name).read_text()
    assert not re.search(r"index-url|find-links|https?://\S*(pypi|pytorch|conda)", text)


def test_ci_calls_the_two_commands():
    text = (ROOT / ".ci" / "run").read_text()
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "LHEXPLORE_LAB=0 make demo" in text
    assert "make test" in text
    assert "LHEXPLORE_REQUIRE_BROWSER=1" in text
