"""MMDetection, odtk and yhenon on a CPU, without the CUDA operators that they import.

In an environment of its own:
  pip install torch==2.13.0 mmengine scikit-image opencv-python-headless pycocotools requests six
  pip install --no-deps torchvision==0.28.0 mmcv-lite==2.2.0 mmdet==3.3.0
and the sources of github.com/NVIDIA/retinanet-examples and github.com/yhenon/pytorch-retinanet.
RetinaNet's layers, anchors, box coders and filters are the peers' own code; stand-ins take the
place of what it never calls, and of the suppression alone, which is compiled there.
"""

import importlib.abc
import importlib.machinery
import sys
import types

import numpy as np
import torch
from numpy_retinanet import nms as numpy_nms


class _Absent(types.ModuleType):
    """A package that is not here; every name in it is an empty class."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        setattr(self, name, type(name, (torch.nn.Module,), {}))
        return getattr(self, name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    ROOTS = ("mmcv.ops", "motmetrics", "seaborn", "lap", "cityscapesscripts", "trackeval")

    def find_spec(self, name, path, target=None):
        absent = any(name == root or name.startswith(f"{root}.") for root in self.ROOTS)
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if absent else None

    def create_module(self, spec):
        return _Absent(spec.name)

    def exec_module(self, module):
        pass


def _nms(boxes, scores, threshold):
    return torch.tensor(np.array(numpy_nms(boxes.numpy(), scores.numpy(), threshold), np.int64))


def torchvision():
    """Registers the operators that torchvision would have compiled."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", _nms, "CPU")
    import torchvision

    torchvision.library_of_stand_ins = library  # the registration lives as long as this object
    return torchvision


def mmdet():
    """Returns (registry of models, folder of configurations)."""
    sys.meta_path.insert(0, _Finder())
    import mmcv
    import mmcv.cnn.bricks.transformer as transformer

    mmcv.__version__ = "2.1.0"  # mmdet refuses the next one
    transformer.MultiScaleDeformableAttention = type("Absent", (torch.nn.Module,), {})
    import mmdet
    import mmdet.models.dense_heads.base_dense_head as dense_head
    from mmdet.registry import MODELS
    from mmengine.registry import init_default_scope

    def batched_nms(boxes, scores, classes, options):
        """mmcv's: classes apart by an offset."""
        apart = boxes + (classes * (boxes.max() + 1))[:, None].to(boxes)
        kept = _nms(apart, scores, options.iou_threshold)
        return torch.cat([boxes[kept], scores[kept, None]], 1), kept

    dense_head.batched_nms = batched_nms
    init_default_scope("mmdet")
    return MODELS, f"{mmdet.__path__[0]}/.mim/configs/retinanet"


def odtk(folder):
    """Returns odtk/model.py of a checkout."""
    package = types.ModuleType("odtk")
    package.__path__ = [f"{folder}/odtk"]
    sys.modules |= {"odtk": package, "odtk._C": _Absent("odtk._C")}
    from torchvision.models import mobilenet, resnet

    class NoAddresses(dict):
        def __missing__(self, key):
            return None

    resnet.model_urls = mobilenet.model_urls = NoAddresses()
    divide = torch.Tensor.__truediv__

    def divide_as_then(a, b):
        """Whole numbers divided to whole numbers before torch 1.5, for which this was written."""
        whole = not a.is_floating_point() and isinstance(b, int)
        return a // b if whole else divide(a, b)

    torch.Tensor.__truediv__ = divide_as_then
    from odtk import model

    return model


def yhenon(folder):
    """Returns retinanet/model.py of a checkout."""
    sys.path.insert(0, str(folder))
    from retinanet import model

    model.nms = _nms
    return model
