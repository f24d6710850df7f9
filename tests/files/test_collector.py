"""The collector rests meanwhile, and is as it was afterwards."""

import gc

import pytest

from keras_retinanet.files.collector import collector_at_rest


@pytest.fixture(autouse=True)
def _collecting():
    yield
    gc.enable()


def failing():
    with collector_at_rest():
        assert not gc.isenabled()
        with collector_at_rest():
            pass
        assert not gc.isenabled()
        raise KeyError


def test_it_rests_and_wakes_after_an_error_too():
    with pytest.raises(KeyError):
        failing()
    assert gc.isenabled()


def test_one_that_a_user_stopped_stays_so():
    gc.disable()
    with collector_at_rest():
        pass
    assert not gc.isenabled()
