"""Files are whole or absent."""

import os
import stat

import pytest

from keras_retinanet.errors import UserError
from keras_retinanet.files import atomic_path, atomic_write


def test_written_text_is_there_and_alone(tmp_path):
    path = tmp_path / "runs" / "one" / "metrics.csv"  # its folders are made
    with atomic_write(path) as stream:
        stream.write("step,é\r\n")
        assert not path.exists()  # nothing under the final name before the block ends
    assert path.read_bytes() == "step,é\r\n".encode()
    assert os.listdir(path.parent) == ["metrics.csv"]


def test_written_bytes_replace_the_old_file(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"old, and longer than the new")
    with atomic_write(path, "wb") as stream:
        stream.write(b"\x00new")
    assert path.read_bytes() == b"\x00new"


def test_a_block_that_raises_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("old")

    def write_half():
        with atomic_write(path) as stream:
            stream.write("half of the n")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk"):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["model.keras"]


def test_a_block_that_raises_before_any_file_leaves_none(tmp_path):
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "model.keras"):
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_the_temporary_path_lies_beside_and_keeps_the_suffix(tmp_path):
    # Keras chooses a format by the suffix, and a rename is only atomic within one file system.
    with atomic_path(tmp_path / "model.keras") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".keras"
        temporary.write_text("whole")
    assert (tmp_path / "model.keras").read_text() == "whole"


def test_permissions_are_those_of_any_new_file(tmp_path):
    plain, atomic = tmp_path / "plain", tmp_path / "atomic"
    plain.write_text("")
    with atomic_write(atomic) as stream:
        stream.write("")
    assert stat.S_IMODE(atomic.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_user_error_is_a_value_error():
    with pytest.raises(ValueError, match="bring a file"):
        raise UserError("bring a file")
