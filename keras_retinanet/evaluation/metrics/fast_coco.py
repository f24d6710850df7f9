"""COCO's matching by hotcoco, an optional package: the same numbers as pycocotools', sooner.

Of the fast engines on PyPI (benchmarks/coco_engines.py runs them all) it is the fastest one that
is bit-equal to pycocotools, and it needs NumPy alone.
"""

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_retinanet.evaluation.metrics.reference_coco import CocoTables, picture_ranks
from keras_retinanet.evaluation.tables import EvaluationSet, Found


def is_installed() -> bool:
    """Return whether hotcoco can be imported, without importing it."""
    return importlib.util.find_spec("hotcoco") is not None


def fast_tables(pictures: EvaluationSet, found: Found, *, limits: Sequence[int]) -> CocoTables:
    """Match detections with ground truths by hotcoco; classes in the order of `class_names`."""
    from hotcoco import COCO, COCOeval

    ranks, truths = picture_ranks(pictures), pictures.truths
    annotations = COCO.from_arrays(
        [
            {"id": rank, "height": height, "width": width}
            for rank, (height, width) in zip(ranks.tolist(), pictures.sizes.tolist(), strict=True)
        ],
        [{"id": index, "name": str(index)} for index in range(len(pictures.class_names))],
        ranks[truths.image],
        truths.classes.astype(np.int64),
        truths.xywh,
        area=truths.areas,
        iscrowd=truths.ignore,
    )
    # Columns: image, x, y, width, height, score, class. Integers are exact in float64.
    rows = np.column_stack([ranks[found.image], found.xywh, found.scores, found.classes])
    evaluation = COCOeval(annotations, annotations.load_res(rows), "bbox")
    evaluation.params.max_dets = list(limits)
    evaluation.evaluate()
    evaluation.accumulate()
    tables: Any = evaluation.eval
    return CocoTables(*(np.asarray(tables[name]) for name in CocoTables._fields))
