"""Two replicas with 4 pictures each are one with the same 8."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# float32 sums in another order; a loss normalised per replica would be off by tens of per cent.
LOSS_RTOL = 1e-5
GRADIENT_ATOL = 1e-6
WEIGHT_ATOL = 2e-6
WEIGHT_RTOL = 5e-6  # moving variances, of sums in another order


def run(replicas, norm, clip, path, micro_batch=0):
    script = Path(__file__).parents[1] / "support" / "replica_run.py"
    options = [str(replicas), norm, str(clip), str(path), str(micro_batch)]
    subprocess.run(
        [sys.executable, str(script), *options],
        check=True,
        capture_output=True,
        timeout=300,
    )
    with np.load(path) as stored:
        return {key: stored[key] for key in stored.files}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("norm", "clip"),
    [("none", 0.0), ("group_norm", 1.0), ("sync", 0.0)],
    ids=[
        "frozen batch norm",
        "group norm heads, clipping, averaged normaliser",
        "batch norms of all devices",
    ],
)
def test_two_replicas_equal_one(tmp_path, norm, clip):
    one = run(1, norm, clip, tmp_path / "one.npz")
    assert_equal(one, run(2, norm, clip, tmp_path / "two.npz"))
    if clip:  # in pieces of 2 of the 4 pictures of a replica
        assert_equal(one, run(2, norm, clip, tmp_path / "pieces.npz", micro_batch=2))


def assert_equal(one, two):
    assert one["losses"].shape == (3, 3)
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=LOSS_RTOL)
    assert np.abs(one["momentum"]).max() > 100 * GRADIENT_ATOL
    np.testing.assert_allclose(two["momentum"], one["momentum"], rtol=0, atol=GRADIENT_ATOL)
    np.testing.assert_allclose(two["weights"], one["weights"], rtol=WEIGHT_RTOL, atol=WEIGHT_ATOL)
