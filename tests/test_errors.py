"""The tree of errors: one root, each also the built-in a caller may expect."""

import pytest

from lhexplore import errors


def test_every_error_is_in_the_drawing_and_under_the_root():
    kinds = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert len(kinds) > 15
    for kind in kinds:
        assert issubclass(kind, errors.LhexploreError)
        assert kind.__name__ in errors.__doc__
        assert kind.__doc__


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.UnknownLayerError, LookupError),
        (errors.EmptyDataError, ValueError),
        (errors.TooLargeError, MemoryError),
        (errors.StoreError, OSError),
        (errors.UnsupportedError, NotImplementedError),
    ],
)
def test_an_error_is_also_its_builtin(kind, builtin):
    with pytest.raises(builtin, match="said"):
        raise kind("said")


def test_near_names_are_suggested_else_the_first_are_listed():
    assert errors.suggest("conv11", ["conv1", "fc1"]) == "Did you mean 'conv1'?"
    assert errors.suggest("zzz", list("abcdefg")) == "There are 'a', 'b', 'c', 'd', 'e' and 2 more."
    assert errors.suggest("a", []) == "There are none."
