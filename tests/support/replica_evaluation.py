"""Detects in the pictures of a COCO folder, by 1 and by 2 replicas; for test_replicas.

A process of its own, because logical devices can only be set before TensorFlow starts.
"""

import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from exporting_cases import small_model

from keras_retinanet.commands.detecting import Task
from keras_retinanet.config import Config, DataConfig
from keras_retinanet.data.loading import load_dataset
from keras_retinanet.evaluation.metrics.coco_figures import coco_evaluation, figures
from keras_retinanet.evaluation.runner import run_detector
from keras_retinanet.evaluation.tables import EvaluationSet, Found, Truths
from keras_retinanet.modeling.saving import load, save_model
from keras_retinanet.training.distribution import strategy

PICTURES = 50


def truths_from(pictures: EvaluationSet, found: Found) -> EvaluationSet:
    """Make every third detection an object, a little beside: figures far from 0 and 1."""
    rows = np.arange(0, len(found.scores), 3)
    random = np.random.default_rng(0)
    boxes = found.boxes[rows]
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    boxes = boxes + random.normal(0, 0.04, boxes.shape) * sides
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    truths = Truths(found.image[rows], found.classes[rows], boxes, areas, areas < 0)
    return replace(pictures, truths=truths)


def main(folder: str, path: str) -> None:
    device = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    keras.utils.set_random_seed(0)
    file = Path(path).with_suffix(".keras")
    save_model(small_model(preprocessing={"short_side": 96, "long_side": 128}), file)
    config = Config(data=DataConfig(source="coco", data_dir=folder))
    task = Task(file, config, None)
    one, both = load(file), task.detector()
    dataset = load_dataset(config.data, "val")
    # The model's three classes take the place of COCO's 80.
    dataset = replace(
        dataset,
        class_names=one.class_names,
        class_ids=one.class_ids,
        records=[replace(r, classes=r.classes % 3) for r in dataset.records[:PICTURES]],
    )
    kept, truth = {"replicas": np.array(strategy().num_replicas_in_sync)}, None
    for replicas, model in ((1, one), (2, both)):
        for batch in (8, 1):
            run = run_detector(
                model,
                dataset,
                batch_size=batch,
                progress=False,
                strategy=strategy() if replicas == 2 else None,
            )
            truth = truths_from(run.pictures, run.found) if truth is None else truth
            scored = figures(coco_evaluation(truth, run.found, engine="pycocotools"))
            kept |= {
                f"{name}_{replicas}_{batch}": getattr(run.found, name)
                for name in ("image", "classes", "boxes", "scores")
            }
            kept[f"figures_{replicas}_{batch}"] = np.array(list(scored.values()))
    np.savez(path, **kept)


if __name__ == "__main__":
    main(*sys.argv[1:])
