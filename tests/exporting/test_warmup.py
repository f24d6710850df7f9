"""Warm-up requests, against the messages that TF Serving reads. No server is run here."""

import numpy as np
from warmup_records import read_warmup

from keras_retinanet.exporting.saved_model.warmup import prediction_log, write_warmup

# What tensorflow-serving-api 2.21.0 writes: `PredictionLog.SerializeToString` of the same request.
SERVERS_BYTES = (
    "322e0a2c0a0d1a0b73657276655f6279746573121b0a0b69"
    "6d6167655f6279746573120c080712041202080142026162"
)


def test_warmup_requests_are_read_back(tmp_path, rng):
    picture = rng.integers(0, 256, (3, 5, 3), dtype=np.uint8)
    written = [
        ("serving_default", {"images": picture[None]}),
        ("serve_bytes", {"image_bytes": [b"\xff\x00", b""]}),
        ("serve_thresholds", {"images": picture[None], "score_threshold": np.float32(0.5)}),
    ]
    write_warmup(tmp_path, written)
    for (name, inputs), (read_name, read_inputs) in zip(
        written, read_warmup(tmp_path), strict=True
    ):
        assert read_name == name
        assert list(read_inputs) == list(inputs)
        for key, value in inputs.items():
            # NumPy's own strings would lose a zero at their end.
            value = np.array(value, read_inputs[key].dtype)
            np.testing.assert_array_equal(read_inputs[key], value)


def test_warmup_bytes_are_those_of_the_servers_own_messages():
    assert prediction_log("serve_bytes", {"image_bytes": [b"ab"]}).hex() == SERVERS_BYTES
