"""Images and boxes to batches."""

from typing import TYPE_CHECKING

from keras_retinanet.lazy import lazily

if TYPE_CHECKING:
    from keras_retinanet.data.augmentation.mixing import draw_mix, mix
    from keras_retinanet.data.for_fit import load
    from keras_retinanet.data.loading import SOURCES, load_dataset, load_train_val
    from keras_retinanet.data.pipeline.batches import evaluation_dataset, training_batches
    from keras_retinanet.data.pipeline.cache import cached
    from keras_retinanet.data.problems import Problems
    from keras_retinanet.data.records import Dataset, ImageRef, Record
    from keras_retinanet.data.sources.recognition import recognise
    from keras_retinanet.data.splits import random_split
    from keras_retinanet.data.writers import WRITERS, write_dataset
    from keras_retinanet.data.writers.shared import WriteOptions
    from keras_retinanet.files.images.decoding import decode_image, image_size

__all__ = [
    "SOURCES",
    "WRITERS",
    "Dataset",
    "ImageRef",
    "Problems",
    "Record",
    "WriteOptions",
    "cached",
    "decode_image",
    "draw_mix",
    "evaluation_dataset",
    "image_size",
    "load",
    "load_dataset",
    "load_train_val",
    "mix",
    "random_split",
    "recognise",
    "training_batches",
    "write_dataset",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "augmentation.mixing": "draw_mix mix",
        "for_fit": "load",
        ".files.images.decoding": "decode_image image_size",
        "loading": "SOURCES load_dataset load_train_val",
        "pipeline.batches": "evaluation_dataset training_batches",
        "pipeline.cache": "cached",
        "problems": "Problems",
        "records": "Dataset ImageRef Record",
        "sources.recognition": "recognise",
        "splits": "random_split",
        "writers": "WRITERS write_dataset",
        "writers.shared": "WriteOptions",
    },
)
