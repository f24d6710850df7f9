"""What reaches a terminal is text, whatever the names are."""

import io
import os
import subprocess
import sys

import pytest

from keras_retinanet.terminal import printable, safe_output

EVIL = "a\x1b]0;owned\x07\x9b2J\u202egnp.exe\u2066\ud800\x7f\r\n\tb"


def test_printable_is_one_line_that_shows_what_was_there():
    shown = r"a\x1b]0;owned\x07\x9b2J\u202egnp.exe\u2066\ud800\x7f\r\n\tb"
    assert printable(EVIL) == shown
    for text in ("caf\u00e9 \u732b \u0645\u06cc\u200c\u062e", "\U0001f468\u200d\U0001f469", "a\\b"):
        assert printable(text) == text  # joiners are a part of words


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_streams_keep_what_bars_need_and_no_more(encoding, monkeypatch):
    for name in ("stdout", "stderr"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
        monkeypatch.setattr(sys, name, stream)
        with safe_output():
            print(EVIL + "\u732b", end="", file=getattr(sys, name), flush=True)
            assert getattr(sys, name).encoding == encoding  # else as the stream's own
        assert getattr(sys, name) is stream
        text = stream.buffer.getvalue().decode(encoding)
        assert not set(text) & set("\x1b\x07\x7f\x9b\u202e\u2066") and text.count("\r\n\t") == 1
        assert ("\u732b" in text) == (encoding == "utf-8")


@pytest.mark.long
def test_no_command_sends_an_escape(tmp_path):
    """A folder's name in an error, a file's name in a notice, a class in a table."""
    folder = tmp_path / "data\x1b[2J\nset"
    folder.mkdir()
    commands = [
        ["train", "--data_dir", folder],
        ["train", "voc", "--data_dir", folder],
        ["info", folder / "x\x1b]0;a\x07.keras"],
        ["predict", folder, "--\x1b[2J"],
    ]
    code = (
        "import runpy, sys\n"
        "from keras_retinanet.cli import main\n"
        "for words in eval(sys.argv[1]):\n"
        "    try: main(words)\n"
        "    except SystemExit as end: print('code', end.code)\n"
    )
    words = repr([[str(word) for word in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", code, words],
        capture_output=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    assert b"\x1b" not in done.stdout + done.stderr and b"\x07" not in done.stdout + done.stderr
    assert done.stdout.count(b"code 2") == len(commands), done.stderr
    errors = [line for line in done.stderr.splitlines() if b"error:" in line]
    assert len(errors) == len(commands)
    assert b"data\\x1b[2J\\nset" in errors[0]
