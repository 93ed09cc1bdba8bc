"""Colab is stood in for by a module of its name: it cannot be run here."""

import sys
from types import ModuleType

import pytest
from canned import CannedSession

from lhexplore.explorer.colab import ask_for_widgets
from lhexplore.explorer.views import Provenance


@pytest.fixture
def asked(monkeypatch):
    calls: list[str] = []
    output = ModuleType("google.colab.output")
    output.enable_custom_widget_manager = lambda: calls.append("asked")
    for name, module in (("google", ModuleType("google")), ("google.colab", ModuleType("google.colab"))):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "google.colab.output", output)
    ask_for_widgets.cache_clear()
    yield calls
    ask_for_widgets.cache_clear()


def test_a_view_asks_once_for_widgets(asked):
    view = Provenance(CannedSession())
    try:
        assert asked == []
        for _ in range(3):
            view._repr_mimebundle_()
    finally:
        view.close()
    assert asked == ["asked"]


def test_nobody_is_asked_elsewhere(asked, monkeypatch):
    monkeypatch.delitem(sys.modules, "google.colab")
    ask_for_widgets()
    assert asked == []
