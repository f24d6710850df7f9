"""The notebooks run from the first cell to the last, at toy size and without a network."""

import os
from pathlib import Path

import pytest

REASON = "nbclient and ipykernel run notebooks: pip install '.[test]'"
nbformat = pytest.importorskip("nbformat", reason=REASON)
nbclient = pytest.importorskip("nbclient", reason=REASON)
pytest.importorskip("ipykernel", reason=REASON)

pytestmark = pytest.mark.notebook
ROOT = Path(__file__).parents[1]
# Seconds for a cell; no test waits for it.
TIMEOUT = 300
# Notebook -> how many pictures it shows, and what it prints.
EXPECTED = {
    "the_paper_in_code": (7, ["49,104 anchors are matched", "mean probability: 0.0100"]),
    "train_on_your_own_data": (3, ["best AP", "8 pictures, classes: circle", "Miss "]),
    "fine_tune_from_coco": (3, ["torchvision_v1", "class_head: 4 layers kept, new: final"]),
    "export_and_use": (1, ["Agreement(compared=", "float32.tflite"]),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_notebook_runs(name, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_RETINANET_TOY", "1")
    monkeypatch.setenv("KERAS_RETINANET_HOME", str(tmp_path / "home"))
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    for variable in ("http_proxy", "https_proxy"):  # nobody listens there
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    notebook = nbformat.read(ROOT / "docs" / "notebooks" / f"{name}.ipynb", as_version=4)
    nbclient.NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()  # raises at the first cell that fails
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    pictures = [out for out in outputs if "image/png" in out.get("data", {})]
    printed = "".join(out["text"] for out in outputs if out.output_type == "stream")
    count, texts = EXPECTED[name]
    assert len(pictures) == count
    assert [text for text in texts if text not in printed] == []
