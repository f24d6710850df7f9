"""SavedModels against `detect`: in a process without this package, and for every option."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from exporting_cases import (
    CLASS_IDS,
    blobs,
    check_same,
    encoded_pictures,
    small_model,
)
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2

from keras_retinanet.config.files import config_to_dict
from keras_retinanet.errors import UserError
from keras_retinanet.exporting.facts import FILE_DIGESTS
from keras_retinanet.exporting.saved_model.folder import export_saved_model
from keras_retinanet.exporting.saved_model.serving import OUTPUTS
from keras_retinanet.exporting.thresholds import with_detections
from keras_retinanet.files.images.decoding import decode_image

pytestmark = pytest.mark.conversion

SIZES = [(60, 90), (90, 60), (7, 500), (1, 1), (64, 64)]
THRESHOLDS = {"score_threshold": 0.3, "nms_iou": 0.2, "max_detections": 7}


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """A SavedModel of `model`, with all that can be asked for."""
    out = tmp_path_factory.mktemp("saved_model") / "exported"
    lines = []
    export_saved_model(model, out, xla=True, warmup=True, say=lines.append)
    assert [line.split()[0] for line in lines] == ["folding", "tracing", "writing"]
    return out


def example(encoded: bytes) -> bytes:
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
    return tf.train.Example(
        features=tf.train.Features(feature={"image/encoded": feature})
    ).SerializeToString()


def requests():
    encoded = list(encoded_pictures().values())
    images = {size: blobs(*size)[None] for size in SIZES}
    eight = np.stack([blobs(60, 90, seed) for seed in range(8)])
    canvas = blobs(64, 96)[None].astype("f4")
    asked = {name: np.array(value, "f4") for name, value in THRESHOLDS.items()}
    asked["max_detections"] = np.array(THRESHOLDS["max_detections"], "i4")
    return {
        **{size: ("serving_default", {"images": images[size]}) for size in SIZES},
        "three": ("serving_default", {"images": eight[:3]}),
        "eight": ("serving_default", {"images": eight}),
        "none": ("serving_default", {"images": eight[:0]}),
        "no pixels": ("serving_default", {"images": eight[:, :0]}),
        "bytes": ("serve_bytes", {"image_bytes": encoded}),
        "bytes backwards": ("serve_bytes", {"image_bytes": encoded[::-1]}),
        "bytes, one": ("serve_bytes", {"image_bytes": encoded[:1]}),
        "bytes, bad": ("serve_bytes", {"image_bytes": [encoded[0], b"text", encoded[1], b""]}),
        "examples": ("serve_example", {"examples": [example(one) for one in encoded]}),
        "raw": ("raw", {"images": canvas}),
        "thresholds": ("serve_thresholds", {"images": eight[:3], **asked}),
        "default thresholds": (".serve_thresholds", {"images": eight[:3]}),
        "nothing asked": (
            "serve_thresholds",
            {"images": eight[:3], **asked, "max_detections": np.array(0, "i4")},
        ),
        "xla": ("serve_xla", {"images": eight[:3]}),
        "raw_xla": ("raw_xla", {"images": canvas}),
    }


@pytest.fixture(scope="module")
def answers(folder, tmp_path_factory):
    """What a process without keras and keras_retinanet got."""
    place = tmp_path_factory.mktemp("process")
    asked = requests()
    (place / "requests").write_bytes(pickle.dumps(list(asked.values())))
    script = Path(__file__).parents[1] / "support" / "exporting_process.py"
    arguments = [str(folder), str(place / "requests"), str(place / "answers")]
    subprocess.run([sys.executable, str(script), *arguments], check=True, timeout=300)
    found, said = pickle.loads((place / "answers").read_bytes())
    return dict(zip(asked, found, strict=True)) | {"said": said}


# --------------------------------------------------------------- in a process without this package


def test_pictures_of_one_size(model, answers):
    for size in SIZES:
        (expected,) = model.detect(blobs(*size))
        assert len(expected) == 20
        check_same(answers[size], 0, expected)


def test_batches_of_three_and_eight(model, answers):
    expected = model.detect([blobs(60, 90, seed) for seed in range(8)])
    for row in range(8):
        check_same(answers["eight"], row, expected[row])
        if row < 3:
            check_same(answers["three"], row, expected[row])
            check_same(answers["xla"], row, expected[row])


def test_mixed_files_in_one_batch(model, answers):
    pictures = [decode_image(encoded) for encoded in encoded_pictures().values()]
    assert len({picture.shape for picture in pictures}) > 3
    last = len(pictures) - 1
    for row, expected in enumerate(model.detect(pictures)):
        check_same(answers["bytes"], row, expected)
        check_same(answers["bytes backwards"], last - row, expected)
        check_same(answers["examples"], row, expected)
    check_same(answers["bytes, one"], 0, model.detect(pictures[0])[0])


def test_names_shapes_and_types(answers):
    found = answers["three"]
    assert set(found) == set(OUTPUTS)
    assert {name: values.shape for name, values in found.items()} == {
        "detection_boxes": (3, 20, 4),
        "detection_scores": (3, 20),
        "detection_classes": (3, 20),
        "num_detections": (3,),
        "detection_boxes_xyxy": (3, 20, 4),
    }
    assert {values.dtype for values in found.values()} == {np.dtype("f4")}
    assert set(np.unique(found["detection_classes"])) <= set(CLASS_IDS)
    y1, x1, y2, x2 = np.moveaxis(found["detection_boxes"], 2, 0)
    pixels = np.stack([x1 * 90, y1 * 60, x2 * 90, y2 * 60], 2)
    np.testing.assert_allclose(pixels, found["detection_boxes_xyxy"], atol=1e-4)


def test_raw_is_the_models_own_output(model, answers):
    expected = model(blobs(64, 96)[None].astype("f4"), training=False)
    for name in ("raw", "raw_xla"):
        assert set(answers[name]) == set(expected)
        for key, values in expected.items():
            np.testing.assert_allclose(answers[name][key], values, atol=1e-4)


def test_thresholds_of_a_request(model, answers):
    pictures = [blobs(60, 90, seed) for seed in range(3)]
    changed = with_detections(model, **THRESHOLDS)
    for row, expected in enumerate(changed.detect(pictures)):
        assert 0 < len(expected) <= 7
        check_same(answers["thresholds"], row, expected)
    for row, expected in enumerate(model.detect(pictures)):
        check_same(answers["default thresholds"], row, expected)


def test_errors_say_what_is_wrong(answers):
    assert "indices of the batch:] [1 3]" in answers["bytes, bad"]
    assert "Expected whole JPEG, PNG, WebP, BMP or GIF" in answers["bytes, bad"]
    assert "Expected images of at least one pixel" in answers["no pixels"]
    assert "Expected max_detections of 1 to 10000. Received:] [0]" in answers["nothing asked"]


def test_no_pictures_have_no_detections(answers):
    assert answers["none"]["detection_boxes"].shape == (0, 20, 4)
    assert answers["none"]["num_detections"].shape == (0,)


def test_what_the_loaded_object_says(model, folder, answers):
    said = answers["said"]
    assert [name.decode() for name in said["class_names"]] == model.class_names
    facts = json.loads(said["facts"])
    assert facts["class_ids"] == CLASS_IDS
    assert facts["config"] == config_to_dict(model.config)
    assert facts["input"]["range"] == [0, 255]
    assets = folder / "assets"
    stored = json.loads((assets / "model.json").read_text("utf-8"))
    # The graph cannot hold the digest of the file that it is written to.
    assert len(stored.pop(FILE_DIGESTS)) == 3
    assert stored == facts
    assert (assets / "labels.txt").read_text("utf-8").splitlines() == model.class_names
    config = yaml.safe_load((assets / "config.yaml").read_text("utf-8"))
    assert config["model"]["anchors"]["sizes"] == list(model.config.anchors.sizes)


# ------------------------------------------------------------------------------------- the folder


@pytest.fixture(scope="module")
def meta_graph(folder):
    message = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    return message.meta_graphs[0]


CORE_OPS = """
    Abs Add AddV2 All Any ArgMax AsString Assert AssignVariableOp BatchMatMulV2 BiasAdd
    BitwiseAnd BroadcastTo Case Cast Ceil CombinedNonMaxSuppression Concat ConcatV2 Const Conv2D
    DecodeImage DecodeJpeg DecodePng DecodeRaw DepthwiseConv2dNative DisableCopyOnRead DivNoNan
    EnsureShape Equal Exp ExpandDims ExtractJpegShape Fill Floor FloorDiv FloorMod GatherNd
    GatherV2 Greater GreaterEqual Identity IdentityN If IgnoreErrorsDataset Less LessEqual
    LogicalAnd LogicalNot LogicalOr MapDataset MatrixBandPart Max MaxPool Maximum Mean Merge
    MergeV2Checkpoints Min Minimum Mul Neg NoOp NonMaxSuppressionV4 NotEqual OneHot
    OptionsDataset Pack Pad PadV2 ParseExampleV2 PartitionedCall Placeholder
    PlaceholderWithDefault Prod Range Rank ReadVariableOp RealDiv ReduceDataset Relu Relu6
    Reshape ResizeBilinear ResizeNearestNeighbor RestoreV2 ReverseV2 RightShift Round Rsqrt
    SaveV2 ScaleAndTranslate ScatterNd Select SelectV2 Shape ShardedFilename Sigmoid Size Slice
    SparseToDense Split SplitV Sqrt Squeeze StatefulPartitionedCall StatelessCase StatelessIf
    StatelessWhile StaticRegexFullMatch StopGradient StridedSlice StringJoin StringLower Sub
    Substr Sum Switch TensorDataset TensorListConcatV2 TensorListFromTensor TensorListGather
    TensorListGetItem TensorListLength TensorListReserve TensorListSetItem TensorListStack
    TensorScatterUpdate Tile TopKV2 Transpose UniqueV2 Unpack VarHandleOp Where While ZerosLike
""".split()  # fmt: skip


def test_core_operators_alone(meta_graph):
    nodes = list(meta_graph.graph_def.node)
    for function in meta_graph.graph_def.library.function:
        nodes += function.node_def
    used = {node.op for node in nodes}
    functions = {f.signature.name for f in meta_graph.graph_def.library.function}
    assert sorted(used - functions - set(CORE_OPS)) == []
    # A webp picture needs no operator that older servers lack.
    assert "DecodeWebP" not in used


def test_signatures(meta_graph):
    signatures = {
        name: {key: text_format.MessageToString(value.tensor_shape, as_one_line=True)
               for key, value in signature.inputs.items()}
        for name, signature in meta_graph.signature_def.items() if name[0] != "_"
    }  # fmt: skip
    assert {name: sorted(inputs) for name, inputs in signatures.items()} == {
        "serving_default": ["images"],
        "serve_bytes": ["image_bytes"],
        "serve_example": ["examples"],
        "serve_thresholds": ["images", "max_detections", "nms_iou", "score_threshold"],
        "raw": ["images"],
        "raw_xla": ["images"],
        "serve_xla": ["images"],
    }
    assert signatures["serving_default"]["images"].count("size: -1") == 3
    defaults = meta_graph.signature_def["serve_thresholds"].defaults
    assert defaults["score_threshold"].float_val[0] == pytest.approx(0.05)
    assert defaults["nms_iou"].float_val[0] == pytest.approx(0.5)
    assert defaults["max_detections"].int_val[0] == 20


def test_each_weight_is_stored_once(model, folder):
    weights = sum(weight.numpy().nbytes for weight in model.weights)
    stored = (folder / "variables" / "variables.data-00000-of-00001").stat().st_size
    assert stored < weights  # batch norms are gone
    names = [name for name, _ in tf.train.list_variables(str(folder / "variables" / "variables"))]
    assert len(names) == len(set(names))


def test_no_place_of_this_machine_is_in_the_file(folder):
    content = (folder / "saved_model.pb").read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in content


def test_warm_up_requests_are_small(folder):
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    assert len(list(tf.data.TFRecordDataset(str(path)))) == 11  # nine canvases for XLA
    assert path.stat().st_size < 10_000


def test_a_failed_export_leaves_the_old_one(model, folder, monkeypatch):
    before = (folder / "saved_model.pb").read_bytes()

    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr("keras_retinanet.exporting.saved_model.folder._write_assets", full)
    with pytest.raises(OSError, match="no space left"):
        export_saved_model(model, folder, say=lambda _: None)
    assert (folder / "saved_model.pb").read_bytes() == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["exported"]


def test_unknown_options_are_refused(model, tmp_path):
    with pytest.raises(UserError, match="Received: bad_pictures='skip'"):
        export_saved_model(model, tmp_path / "x", bad_pictures="skip", say=print)
    with pytest.raises(UserError, match="Received: precision='int8'"):
        export_saved_model(model, tmp_path / "x", precision="int8", say=print)
