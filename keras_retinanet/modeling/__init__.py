"""The paper: anchors, backbone, FPN, heads, labels, losses, detections, optimizers."""

from keras_retinanet.modeling.anchors import LEVELS, Anchors, feature_sizes, level_cells
from keras_retinanet.modeling.atss import AtssLabeler, build_labeler
from keras_retinanet.modeling.backbones import BACKBONES, build_backbone
from keras_retinanet.modeling.boxes import BoxCoder, generalized_iou, iou
from keras_retinanet.modeling.class_losses import focal_loss
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.distillation import Distiller
from keras_retinanet.modeling.fpn import build_fpn
from keras_retinanet.modeling.heads import build_head
from keras_retinanet.modeling.labeling import BACKGROUND, IGNORED, AnchorLabeler, Labeler, Targets
from keras_retinanet.modeling.losses import RetinaNetLoss, num_positives, smooth_l1
from keras_retinanet.modeling.optimizers import CoupledSGD, DetectorAdamW
from keras_retinanet.modeling.post_processing import PostProcessing
from keras_retinanet.modeling.preprocessing import Preprocessing
from keras_retinanet.modeling.retinanet import RetinaNet, retinanet
from keras_retinanet.modeling.saving import load, save_model
from keras_retinanet.modeling.transfer import transfer_weights, transferred_config

__all__ = [
    "BACKBONES",
    "BACKGROUND",
    "IGNORED",
    "LEVELS",
    "AnchorLabeler",
    "Anchors",
    "AtssLabeler",
    "BoxCoder",
    "CoupledSGD",
    "Detections",
    "DetectorAdamW",
    "Distiller",
    "Labeler",
    "PostProcessing",
    "Preprocessing",
    "RetinaNet",
    "RetinaNetLoss",
    "Targets",
    "build_backbone",
    "build_fpn",
    "build_head",
    "build_labeler",
    "feature_sizes",
    "focal_loss",
    "generalized_iou",
    "iou",
    "level_cells",
    "load",
    "num_positives",
    "retinanet",
    "save_model",
    "smooth_l1",
    "transfer_weights",
    "transferred_config",
]
