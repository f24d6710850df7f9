"""torchvision itself reads what we export; skipped without the extra `parity`."""

import sys
from pathlib import Path

import numpy as np
import pytest

from keras_retinanet.checkpoints.families.torchvision_export import export_torchvision
from keras_retinanet.config import (
    AnchorConfig,
    BackboneConfig,
    FPNConfig,
    HeadConfig,
    ModelConfig,
)
from keras_retinanet.modeling.retinanet import RetinaNet

torch = pytest.importorskip("torch", reason="needs the extra `parity`")
sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))


@pytest.mark.filterwarnings("ignore")  # torch's own
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_exported_model_gives_the_same_numbers_in_torchvision(tmp_path, rng, version):
    import torchvision_goldens as peer

    library = peer.define_operators()
    model = RetinaNet(
        ModelConfig(
            backbone=BackboneConfig(
                stride_in_1x1=False, bn_epsilon=1e-37 if version == "v1" else 1e-5
            ),
            fpn=FPNConfig(p6_from="p5" if version == "v1" else "c5"),
            head=HeadConfig(norm="none" if version == "v1" else "group_norm"),
            anchors=AnchorConfig(offset=0.0, rounded=True, stride="true"),
        ),
        ["a", "b", "c"],
    )
    for layer in (model.class_head, model.box_head):  # far from zero
        layer.set_weights([rng.normal(0, 0.02, w.shape) for w in layer.get_weights()])
    export_torchvision(model, tmp_path / "model.pth")
    theirs = peer.build(version, {"min_size": 96, "max_size": 128}, num_classes=3).eval()
    state = torch.load(tmp_path / "model.pth", weights_only=True)
    theirs.load_state_dict(state, strict=True)
    assert list(state) == list(theirs.state_dict())
    image = rng.integers(0, 256, (96, 128, 3)).astype(np.uint8)
    with torch.no_grad():
        pixels = torch.from_numpy(image).permute(2, 0, 1).float() / 255
        images, _ = theirs.transform([pixels])
        raw = theirs.head(list(theirs.backbone(images.tensors).values()))
    ours = model(image[None].astype(np.float32), training=False)
    names = {"class_logits": "cls_logits", "box_deltas": "bbox_regression"}
    for name, their_name in names.items():
        difference = np.abs(raw[their_name].numpy() - ours[name].numpy()).max()
        assert difference < 1e-4, name
    del library
