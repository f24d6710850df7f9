"""What is done with a detector beyond one image: tiles, passes, videos, batch engines."""

from typing import TYPE_CHECKING

from keras_retinanet.lazy import lazily

if TYPE_CHECKING:
    from keras_retinanet.inference.detector import Detector
    from keras_retinanet.inference.merging import fuse, overlaps
    from keras_retinanet.inference.ray_data import detect_files, ray_detections
    from keras_retinanet.inference.tta import with_test_time
    from keras_retinanet.inference.videos import Video, annotate_video
    from keras_retinanet.modeling.tiling import Tiled, merge_tiles, tile_windows, with_tiles

__all__ = [
    "Detector",
    "Tiled",
    "Video",
    "annotate_video",
    "detect_files",
    "fuse",
    "merge_tiles",
    "overlaps",
    "ray_detections",
    "tile_windows",
    "with_test_time",
    "with_tiles",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "detector": "Detector",
        "merging": "fuse overlaps",
        "ray_data": "detect_files ray_detections",
        "tta": "with_test_time",
        "videos": "Video annotate_video",
        ".modeling.tiling": "Tiled merge_tiles tile_windows with_tiles",
    },
)
