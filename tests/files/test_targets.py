"""Commands replace what this package wrote, and nothing else."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_retinanet import cli
from keras_retinanet.commands.predict_files import drawing_paths
from keras_retinanet.config import Config
from keras_retinanet.drawing.pictures import save_picture
from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.results import coco_results, write_coco_json, write_csv
from keras_retinanet.exporting.facts import facts_json, model_facts
from keras_retinanet.exporting.staging import check_place, staged
from keras_retinanet.files.targets import KINDS, check_target, is_free
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.modeling.saving import save_model
from keras_retinanet.weight_files.torch_writer import Tensor, write_tensors

ONE = Detections(np.ones((1, 4)), np.ones(1), np.zeros(1, np.int32), ["cat"])


def command(*words: str) -> int:
    """Run a command in this process, which has TensorFlow already; returns the exit code."""
    return cli.run(cli.build_parser().parse_args([str(word) for word in words]))


@pytest.fixture(scope="module")
def small() -> RetinaNet:
    return RetinaNet(Config().model, ["cat"], load_weights=False)


# What others write, which begins as ours does.
FOREIGN = {
    "annotations.json": b'{"images": [{"id": 1}], "annotations": []}',
    "notes.txt": b"class,boxes\nby keras_retinanet\n",
    "page.html": b"<!doctype html>\n<html><head><title>keras_retinanet</title></head></html>",
    "recipe.yaml": b"# my recipe\nmodel: {}\n",
    "rows.json": b'[{"id": 1, "image_id": 3}]',
    "table.csv": b"path,x1,y1\n",
}


@pytest.fixture
def foreign(tmp_path) -> list[Path]:
    """Files that this package did not write, of many forms."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    for name, content in FOREIGN.items():
        (folder / name).write_bytes(content)
    image = Image.new("RGB", (8, 8))
    image.save(folder / "photo.jpg")
    image.save(folder / "photo.png")
    with zipfile.ZipFile(folder / "other.keras", "w") as archive:
        archive.writestr("config.json", '{"registered_name": "mine>Net"}')
    with zipfile.ZipFile(folder / "other.tflite", "w") as archive:
        archive.writestr("labels.txt", "cat\n")
    with zipfile.ZipFile(folder / "torch.pth", "w") as archive:
        archive.writestr("archive/data.pkl", "")
    header = b'{"__metadata__":{"format":"pt"},"a":{}}'
    (folder / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_what_others_wrote_is_not_replaced(foreign, kind):
    for path in foreign:
        with pytest.raises(UserError, match="holds something else"):
            check_target(path, kind, flag="--out")


def test_a_new_an_empty_and_no_file(tmp_path):
    (tmp_path / "empty").touch()
    for kind in KINDS:
        check_target(tmp_path / "new", kind, flag="--out")
        check_target(tmp_path / "empty", kind, flag="--out")
        assert not is_free(tmp_path, kind)
        assert not is_free(Path("/dev/null"), kind)


@pytest.mark.long
def test_what_this_package_wrote_may_be_written_anew(tmp_path, small):
    write_coco_json([], tmp_path / "none.json")
    rows = coco_results(ONE.boxes, ONE.scores, category_ids=[1], image_id=1)
    write_coco_json(rows, tmp_path / "found.json")
    write_csv([("a.jpg", ONE)], tmp_path / "found.csv")
    for name in ("a.png", "a.jpg"):
        save_picture(np.zeros((400, 400, 3), np.uint8), tmp_path / name)
    for name in ("a.pth", "a.safetensors"):
        zeros = Tensor("a", (3,), np.dtype("float32"), lambda: np.zeros(3, np.float32))
        write_tensors(tmp_path / name, [zeros])
    save_model(small, tmp_path / "a.keras")
    kinds = {
        "none.json": "results", "found.json": "results", "found.csv": "rows", "a.png": "picture",
        "a.jpg": "picture", "a.pth": "torchvision", "a.safetensors": "torchvision",
        "a.keras": "model",
    }  # fmt: skip
    for name, kind in kinds.items():
        check_target(tmp_path / name, kind, flag="--out")
        for other in KINDS.keys() - {kind}:
            assert not is_free(tmp_path / name, other), (name, other)


@pytest.mark.parametrize(
    "words",
    [
        "evaluate shapes --out FILE",
        "evaluate shapes --json FILE",
        "evaluate shapes --csv FILE",
        "evaluate shapes --report FILE",
        "evaluate --annotations a.json --detections b.json --json FILE",
        "report a b --out FILE",
        "dataset doctor shapes --out FILE",
        "anchors fit shapes --out FILE",
        "import weights.pth --out FILE.keras",
        "export --format tflite --out FILE.tflite",
        "export --format onnx --out FILE.onnx",
        "export --format torchvision --out FILE.pth",
        "export --format torchvision --out FILE.safetensors",
        "export --format saved_model --out FOLDER",
        "evaluate shapes --pictures FOLDER",
        "predict photo.jpg --out FOLDER",
        pytest.param("dataset view shapes --count 1 --out FOLDER", marks=pytest.mark.slow),
    ],
)
def test_commands_refuse_before_they_work(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "FOLDER"
    folder.mkdir()
    names = ["01.png", "1.png", "detections.csv", "sheet.png"]
    for path in [tmp_path / words.split()[-1], *map(folder.joinpath, names)]:
        if path != folder:
            path.write_text("mine")
    Image.new("RGB", (8, 8)).save("photo.jpg")
    (tmp_path / "a.json").write_text("{}")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert command(*words.split()) == 2
    message = capsys.readouterr().err
    assert "Expected a new " in message and words.split()[-1] in message, message
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_drawn_copies_are_numbered_past_files_of_others(tmp_path):
    picture, out = tmp_path / "a.jpg", tmp_path / "out"
    out.mkdir()
    Image.new("RGB", (8, 8)).save(out / "a.jpg")
    assert drawing_paths([picture], out) == [out / "a_2.jpg"]
    save_picture(np.zeros((8, 8, 3), np.uint8), out / "a_2.jpg")  # as an earlier call
    assert drawing_paths([picture], out) == [out / "a_2.jpg"]
    video = tmp_path / "b.mp4"
    assert drawing_paths([video], out) == [out / "b.mp4"]
    (out / "b.mp4").write_bytes(b"mine")
    assert drawing_paths([video], out) == [out / "b_2.mp4"]
    (out / "b.json").write_text("[\n]\n")
    (out / "b.csv").write_text("frame,seconds,x1,y1,x2,y2,class,score\n")
    assert drawing_paths([video], out) == [out / "b.mp4"]
    (out / "b.csv").write_text("mine")
    assert drawing_paths([video], out) == [out / "b_2.mp4"]


def exported(folder: Path, small: RetinaNet) -> None:
    facts = model_facts(small, kind="saved_model", outputs={"boxes": "of it"})
    for name, text in {
        "saved_model.pb": "graph",
        "variables/variables.index": "",
        "variables/variables.data-00000-of-00001": "",
        "assets/model.json": facts_json(facts),
        "assets.extra/tf_serving_warmup_requests": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_an_earlier_export_is_replaced_and_what_lies_beside_it_is_kept(tmp_path, small):
    out = tmp_path / "out"
    exported(out, small)
    check_place(out, "saved_model")
    with staged(out) as made:
        made.mkdir()
        (made / "new").touch()
    assert [path.name for path in out.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["notes.txt", "assets/mine.json", "variables/mine", "link"])
def test_a_folder_with_something_of_the_user_is_refused_to_the_last(tmp_path, small, name):
    out = tmp_path / "out"
    exported(out, small)

    def replace():
        with staged(out) as made:
            made.mkdir()
            if name == "link":
                (out / name).symlink_to(tmp_path)
            else:
                (out / name).write_text("mine")

    with pytest.raises(UserError, match=f"nothing else. Received: --out .* with '{name}'"):
        replace()
    assert (out / name).exists()
    with pytest.raises(UserError, match="nothing else"):
        check_place(out, "saved_model")


def test_a_saved_model_of_others_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "saved_model.pb").write_text("graph")
    with pytest.raises(UserError, match="with 'saved_model"):
        check_place(tmp_path / "out", "saved_model")
