"""The peak memory of a process of its own."""

import pytest

from keras_retinanet.errors import UserError
from keras_retinanet.speed import memory, peak_of

MIB = 2**20


def test_the_peak_has_what_the_process_held_and_not_what_this_one_holds():
    held = bytearray(b"1") * (200 * MIB)
    small, large = peak_of(bytearray, MIB), peak_of(int.to_bytes, 1, 300 * MIB)
    assert 250 < large - small < 400
    assert small < memory.peak_memory() / MIB - 100
    assert len(held) == 200 * MIB


def test_a_process_that_fails_says_why():
    with pytest.raises(UserError, match=r"Received: ZeroDivisionError: .* smaller --image_size"):
        peak_of(divmod, 1, 0)
