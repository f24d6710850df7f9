"""50 pictures, 8 at a time and one by one, by one replica and by two: the same detections."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

PIXELS, SCORES, FIGURES = 0.01, 1e-5, 1e-4


@pytest.fixture(scope="module")
def runs(real_coco, tmp_path_factory):
    path = tmp_path_factory.mktemp("replicas") / "runs.npz"
    script = Path(__file__).parents[1] / "support" / "replica_evaluation.py"
    words = [sys.executable, str(script), str(real_coco), str(path)]
    subprocess.run(words, check=True, capture_output=True, timeout=300)
    with np.load(path) as stored:
        return {key: stored[key] for key in stored.files}


@pytest.mark.parametrize("other", ["1_1", "2_8", "2_1"], ids="{}".format)
def test_batches_and_replicas_change_nothing(runs, other):
    assert runs["replicas"] == 2
    # 50 is no multiple of 8, and canvases differ: last batches are filled up, and count once.
    assert len(np.unique(runs["image_1_8"])) == 50
    assert len(runs["scores_1_8"]) > 500
    assert 0.05 < runs["figures_1_8"][0] < 0.95
    np.testing.assert_array_equal(runs[f"image_{other}"], runs["image_1_8"])
    np.testing.assert_array_equal(runs[f"classes_{other}"], runs["classes_1_8"])
    for name, tolerance in (("boxes", PIXELS), ("scores", SCORES), ("figures", FIGURES)):
        np.testing.assert_allclose(
            runs[f"{name}_{other}"], runs[f"{name}_1_8"], rtol=0, atol=tolerance
        )
