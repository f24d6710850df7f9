"""COCO's metrics in a user's own `model.fit`."""

from pathlib import Path
from typing import Any

import keras

from keras_retinanet.config.data import DataConfig
from keras_retinanet.data import Dataset, load_dataset, recognise
from keras_retinanet.evaluation.crowds import counted_detections
from keras_retinanet.evaluation.metrics.coco_figures import coco_evaluation, figures
from keras_retinanet.evaluation.runner import detections_for
from keras_retinanet.evaluation.tables import evaluation_set, found_from_results
from keras_retinanet.modeling.tiling import is_tiled


class CocoMetrics(keras.callbacks.Callback):
    """Add COCO's twelve metrics to the logs of an epoch as "val_AP", "val_AP50" and so on.

        model.fit(train, epochs=10, callbacks=[CocoMetrics("photos"), EarlyStopping("val_AP")])

    List it before callbacks that read them. Metrics without ground truth are left out.

    Args:
        data: a folder, an annotation file, or a `Dataset`, with the classes of the model.
        split: a split's name, where `data` is a place.
        every: epochs between evaluations.
        batch_size: images per batch.

    Raises:
        UserError: the data cannot be read, or its classes are not the model's.
    """

    def __init__(
        self, data: str | Path | Dataset, split: str = "val", *, every: int = 1, batch_size: int = 8
    ):
        super().__init__()
        if not isinstance(data, Dataset):
            found: dict[str, Any] = dict(recognise(data)[0])
            data = load_dataset(DataConfig(**found), split)
        self.data, self.every, self.batch_size = data, every, batch_size
        self.pictures = evaluation_set(data)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluate, and add the metrics to `logs`."""
        if (epoch + 1) % self.every or logs is None:
            return
        rows = detections_for(self.model, self.data, batch_size=self.batch_size, progress=False)
        limit = counted_detections(self.pictures, in_tiles=is_tiled(self.model))
        found = found_from_results(rows, self.pictures)
        values = figures(coco_evaluation(self.pictures, found, limit=limit))
        logs.update({f"val_{name}": value for name, value in values.items() if value >= 0})
