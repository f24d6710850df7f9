"""Rows of measurements as text and as JSON."""

import json

from keras_retinanet.processes.machine import machine
from keras_retinanet.speed import Table, Times, as_plain, as_text, time_row


def test_a_row_has_milliseconds_and_shares():
    row = time_row("network", Times((0.25, 0.5, 0.75)), per=2, total=1.0, least=0.125)
    assert row == {
        "part": "network",
        "ms": 250.0,
        "low": 187.5,
        "high": 312.5,
        "of total": 0.5,
        "of floor": 0.25,
        "disturbed": False,
    }


def test_the_text_leaves_out_empty_columns_and_marks_disturbed_times():
    rows = [
        time_row("decode", Times((0.0021,))),
        time_row("network", Times((1.5,), disturbed=True), least=0.75),
    ]
    lines = as_text(Table("Inference", rows, ["A note."])).splitlines()
    assert lines == [
        "Inference",
        "",
        "part         ms    low   high  of floor",
        "decode      2.1    2.1    2.1",
        "network  1,500*  1,500  1,500       50%",
        "",
        "A note.",
        "* Other processes used the processor in every repeat: run it again when idle.",
    ]


def test_the_plain_form_is_json_and_keeps_everything():
    table = Table("Inference", [time_row("decode", Times((0.001,)))])
    plain = json.loads(json.dumps(as_plain([table], {"what": "inference", "machine": machine()})))
    assert next(iter(plain)) == "what"  # by which `check_target` knows such a file
    assert plain["tables"][0]["rows"][0]["ms"] == 1.0
    assert plain["machine"]["cores"] >= 1
    assert plain["machine"]["keras"]
