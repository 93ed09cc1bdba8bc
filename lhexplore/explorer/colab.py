"""Colab shows widgets that are no part of ipywidgets only where somebody asked for it."""

import sys
from functools import cache
from importlib import import_module


@cache
def ask_for_widgets() -> None:
    """Ask once; nothing happens anywhere else."""
    if "google.colab" in sys.modules:
        import_module("google.colab.output").enable_custom_widget_manager()
