"""Find objects in images with a SavedModel of `keras_retinanet export`.

Needs only TensorFlow, NumPy and Pillow; keep pictures.py beside it.

    python run_saved_model.py exported/ photo.jpg folder/ --out detected --threshold .5
"""

import os
import sys
from pathlib import Path

import numpy as np
from pictures import BadInput, Found, Model, Picture, main, parse_facts


def load(path: Path) -> Model:
    """Load a SavedModel's folder.

    Raises:
        BadInput: it is no SavedModel of `keras_retinanet export`.
    """
    if not (path / "saved_model.pb").is_file():
        raise BadInput(f"Expected the folder of a SavedModel. Received: {path}.")
    text = path / "assets" / "model.json"
    facts = parse_facts(text.read_bytes() if text.is_file() else b"", path)

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    # Keep the loaded object: a signature alone does not keep its weights.
    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serve_bytes"]
    label_of = {class_id: label for label, class_id in enumerate(facts["class_ids"])}

    def detect(picture: Picture) -> Found:
        try:
            outputs = serve(image_bytes=tf.constant([picture.encoded]))
        except tf.errors.InvalidArgumentError as error:
            raise BadInput(f"{picture.path}: {str(error.message).splitlines()[0]}") from error
        count = int(outputs["num_detections"][0])
        ids = outputs["detection_classes"][0, :count].numpy()
        return Found(
            boxes=outputs["detection_boxes_xyxy"][0, :count].numpy(),
            scores=outputs["detection_scores"][0, :count].numpy(),
            labels=np.array([label_of[int(class_id)] for class_id in ids], np.int32),
        )

    return Model(facts, detect)


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0], load))
