"""The command line: help, exit codes, one clear line for bad input, and the commands on a script."""

import argparse
import inspect
import subprocess
import sys

import pytest

from lhexplore import cli
from lhexplore.demo import digits

COMMANDS = ("demo", "check", "compute", "report")
SCRIPT = """
import torch
from torch import nn
import lhexplore as lh

torch.manual_seed(0)
data = [(torch.randn(16, 3), torch.randint(0, 2, (16,)))]
model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
session = lh.Session(model, data, nn.CrossEntropyLoss(), cache={cache!r})
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "my script.py"
    path.write_text(SCRIPT.format(cache=str(tmp_path / "cache")))
    return str(path)


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("lhexplore 0.")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    assert "usage: lhexplore " + command in capsys.readouterr().out


def test_help_names_every_command_and_loads_no_widget_library():
    code = "import sys\nfrom lhexplore.cli import main\ntry: main(['--help'])\nfinally: print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *shown, loaded = run.stdout.splitlines()
    assert not {"ipywidgets", "bokeh", "sklearn", "pandas"} & set(loaded.split())
    assert all(f"    {command} " in "\n".join(shown) for command in COMMANDS)


def test_python_dash_m_is_the_same_program():
    run = subprocess.run([sys.executable, "-m", "lhexplore", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("lhexplore 0.")


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["demo", "--steps", "many"]])
def test_wrong_usage_ends_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    assert "usage: lhexplore" in capsys.readouterr().err


def test_a_missing_script_is_one_clear_line(tmp_path, capsys):
    assert cli.main(["check", str(tmp_path / "none.py")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("lhexplore: There is no file")
    assert error.count("\n") == 1


@pytest.mark.parametrize(("code", "what"), [("x = 1", "nothing"), ("session = 3", "an int")])
def test_a_script_without_a_session_is_one_clear_line(code, what, tmp_path, capsys):
    path = tmp_path / "s.py"
    path.write_text(code)
    assert cli.main(["compute", str(path)]) == 2
    error = capsys.readouterr().err
    assert "must make a lhexplore.Session called `session`" in error
    assert ("nothing" in error) == (what == "nothing")
    assert error.count("\n") == 1


def test_an_error_in_the_session_is_one_clear_line(script, capsys):
    assert cli.main(["compute", script, "--layer", "3"]) == 2
    assert "'3'" in capsys.readouterr().err


def test_ctrl_c_says_that_what_is_done_is_kept(monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_check", interrupted)
    assert cli.main(["check", "any.py"]) == 130
    assert "What is done is kept" in capsys.readouterr().err


def test_compute_fills_the_cache_that_plan_counts(script, capsys):
    assert cli.main(["compute", script, "--plan"]) == 0
    assert "2 spectra: 0 cached" in capsys.readouterr().out
    assert cli.main(["compute", script, "--layer", "0"]) == 0
    capsys.readouterr()
    assert cli.main(["compute", script, "--plan"]) == 0
    assert "2 spectra: 1 cached" in capsys.readouterr().out


def test_check_prints_every_layer(script, capsys):
    assert cli.main(["check", script]) == 0
    shown = capsys.readouterr().out
    assert "layer 0" in shown
    assert "layer 2" in shown


def test_report_writes_a_page(script, tmp_path, capsys):
    assert cli.main(["compute", script]) == 0
    page = tmp_path / "out" / "page.html"
    page.parent.mkdir()
    assert cli.main(["report", script, "-o", str(page)]) == 0
    assert str(page) in capsys.readouterr().out
    assert "<html" in page.read_text(encoding="utf-8")[:500]


def test_the_demo_has_the_settings_of_digits():
    """So that a notebook that calls `digits()` finds what `lhexplore demo` computed."""
    ours = vars(cli._parser().parse_args(["demo"]))
    theirs = {name: p.default for name, p in inspect.signature(digits).parameters.items()}
    shared = ours.keys() & theirs.keys()
    assert shared == {"model", "steps", "samples", "seed", "device", "cache"}
    for name in shared:  # what is None is left to digits(), and the help says what that is
        assert ours[name] == theirs[name] or (ours[name] is None and f"default: {theirs[name]}" in cli_help("demo"))


def cli_help(command):
    (commands,) = (action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction))
    return " ".join(commands.choices[command].format_help().split())
