"""What `import lhexplore` gives and what it does not load."""

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

import lhexplore as lh

ON_DEMAND = ("ipywidgets", "bokeh", "anywidget", "pandas", "matplotlib", "sklearn", "IPython", "jupyterlab")
PROMISED = {
    "Session", "Snapshots", "Spectrum", "LhexploreError", "hesd", "metrics", "record", "demo",
}  # fmt: skip
# The promise is 0.3 s on an idle machine. A test machine may be busy with other things, hence the slack; what would
# break the promise for good, a heavy library, costs more than this or is named above.
IMPORT_SECONDS = 1.0


def in_fresh_python(code: str) -> object:
    """Run ``code`` in a new interpreter and return the JSON it prints."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_everything_public_exists_and_completes():
    assert dir(lh) == sorted(lh.__all__)
    for name in lh.__all__:
        assert getattr(lh, name) is not None


def test_the_promised_names_are_public():
    assert set(lh.__all__) >= PROMISED


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = lh.no_such_name


def test_import_loads_no_widget_library():
    loaded = in_fresh_python("import lhexplore, json, sys; print(json.dumps(sorted(sys.modules)))")
    assert "lhexplore" in loaded
    assert [name for name in ON_DEMAND if name in loaded] == []


@pytest.mark.alone
def test_import_adds_little_to_torch():
    code = "import torch, time; t = time.perf_counter(); import lhexplore; print(time.perf_counter() - t)"
    assert min(in_fresh_python(code) for _ in range(3)) < IMPORT_SECONDS


def test_import_leaves_torch_as_it_is():
    state = "[torch.get_num_threads(), str(torch.get_default_dtype()), torch.random.get_rng_state().sum().item()]"
    code = f"import json, torch; a = {state}; import lhexplore; lhexplore.Session; print(json.dumps([a, {state}]))"
    before, after = in_fresh_python(code)
    assert before == after


def test_version_is_the_installed_one():
    assert lh.__version__ == version("lhexplore")
