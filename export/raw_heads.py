"""Decode raw heads to detections in NumPy, as a client of the TFLite form `raw` must do.

Shape letters: R anchors, K classes, M candidates, N detections.
"""

from typing import Any

import numpy as np

# Decoding cuts the logarithms of width and height here (Detectron).
MAX_LOG_SCALE = np.log(1000 / 16)


def detections_of_heads(
    outputs: dict[str, np.ndarray], size: tuple[int, int], config: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes (N, 4) xyxy in pixels of the network input, scores (N,) and labels (N,).

    The common choices of `config["detections"]`. Candidates are not cut to the best
    `pre_nms_top_k` of each level first, which matters where a level has more of them.

    Args:
        outputs: class_logits (1, R, K), box_deltas (1, R, 4), anchors (1, R, 4) xyxy in pixels.
        size: (height, width) of the image inside the input.
        config: of model.json.
    """
    rules = config["detections"]
    logits = outputs["class_logits"][0].astype(np.float64)
    scores = 1 / (1 + np.exp(-logits))  # (R, K)
    if rules["background_output"]:
        scores[:, 0] = 0
    if rules["suppress"] == "best_class":  # of each anchor its best class alone
        scores[scores < scores.max(axis=1, keepdims=True)] = 0
    anchor, labels = np.nonzero(scores > rules["score_threshold"])  # (M,), (M,)
    scores = scores[anchor, labels]
    boxes = decode(outputs["box_deltas"][0][anchor], outputs["anchors"][0][anchor], config)
    if rules["clip_to"] == "picture":
        boxes = np.clip(boxes, 0, np.array([size[1], size[0]] * 2))
    order = np.argsort(-scores, kind="stable")
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    groups = labels if rules["suppress"] == "per_class" else np.zeros_like(labels)
    kept = suppress(boxes, groups, rules["nms_iou"], rules["max_detections"])
    return boxes[kept], scores[kept].astype(np.float32), labels[kept].astype(np.int32)


def decode(deltas: np.ndarray, anchors: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """Return boxes (M, 4) xyxy of deltas (M, 4) relative to anchors (M, 4) xyxy."""
    coder = config["box_coder"]
    deltas = deltas.astype(np.float64) * coder["scales"]
    sides = anchors[:, 2:] - anchors[:, :2]  # (M, 2) width, height
    if coder["code"] == "corners":
        return anchors + deltas * np.tile(sides, 2)
    if coder["code"] == "yxhw":
        deltas = deltas[:, [1, 0, 3, 2]]
    logs = deltas[:, 2:]
    if coder["log_clip"] != "none":
        low = -MAX_LOG_SCALE if coder["log_clip"] == "both" else -np.inf
        logs = np.clip(logs, low, MAX_LOG_SCALE)
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2 + deltas[:, :2] * sides
    sides = sides * np.exp(logs)
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)


def suppress(boxes: np.ndarray, groups: np.ndarray, iou: float, limit: int) -> list[int]:
    """Return the indices of boxes (M, 4) that no better one of their group overlaps, best first.

    Args:
        groups: (M,) boxes suppress others of their own group alone.
        iou: overlaps beyond this suppress.
        limit: maximum number of indices.
    """
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    left, kept = np.arange(len(boxes)), []
    while len(left) and len(kept) < limit:
        best, left = left[0], left[1:]
        kept.append(int(best))
        top_left = np.maximum(boxes[best, :2], boxes[left, :2])
        bottom_right = np.minimum(boxes[best, 2:], boxes[left, 2:])
        shared = np.prod(np.maximum(bottom_right - top_left, 0), axis=1)
        union = areas[best] + areas[left] - shared
        left = left[(shared <= iou * union) | (groups[left] != groups[best])]
    return kept
