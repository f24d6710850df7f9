"""Whether a run that something happened to ended as one that nothing happened to."""

import csv
from pathlib import Path

import numpy as np
import pytest

from keras_retinanet.modeling.saving import load

# Sums in another order; without batch norms nothing else differs between devices.
WEIGHT_ATOL = 1e-6
LOSS_ATOL = 1e-5


def rows_of(out: Path) -> list[dict[str, float]]:
    """Return the rows of the log but for their seconds."""
    with open(out / "metrics.csv", newline="") as stream:
        rows = [*csv.DictReader(stream)]
    for row in rows:
        del row["seconds"]
    return [{key: float(value) for key, value in row.items() if value} for row in rows]


def assert_equal_runs(
    out: Path, expected: Path, *, weight_atol: float = WEIGHT_ATOL, loss_atol: float = LOSS_ATOL
) -> None:
    """Compare the models and the logs."""
    for name in ("best.keras", "last.keras"):
        ours, theirs = load(out / name), load(expected / name)
        assert ours.metadata["step"] == theirs.metadata["step"]
        for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=weight_atol)
    rows, wanted = rows_of(out), rows_of(expected)
    assert [row["step"] for row in rows] == [row["step"] for row in wanted]
    for row, other in zip(rows, wanted, strict=True):
        assert row == pytest.approx(other, abs=loss_atol, rel=1e-6 if loss_atol else 0)
