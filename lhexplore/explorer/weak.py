"""Callbacks that do not keep their owner alive."""

import weakref
from collections.abc import Callable
from typing import Any


def weakly(method: Callable[..., Any]) -> Callable[..., None]:
    """Call a bound method as long as its object lives; afterwards do nothing.

    Threads, links and the browser's connection outlive an explorer; what they hold of it must not.
    """
    reference = weakref.WeakMethod(method)

    def call(*arguments: Any, **keywords: Any) -> None:
        found = reference()
        if found is not None:
            found(*arguments, **keywords)

    return call
