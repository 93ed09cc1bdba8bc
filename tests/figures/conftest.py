import pytest
from canned import CannedSession


@pytest.fixture
def session():
    return CannedSession(has_held_out=True)
