"""What is done with a detector beyond one image: tiles, passes, videos, tracks, batch engines."""

from typing import TYPE_CHECKING

from keras_retinanet.lazy import lazily

if TYPE_CHECKING:
    from keras_retinanet.files.videos import Frame, Video
    from keras_retinanet.inference.counting import Line, Zone
    from keras_retinanet.inference.detector import Detector
    from keras_retinanet.inference.merging import fuse, overlaps
    from keras_retinanet.inference.ray_data import detect_files, ray_detections
    from keras_retinanet.inference.tracking import Tracker
    from keras_retinanet.inference.tta import with_test_time
    from keras_retinanet.inference.videos import VideoOptions, annotate_video
    from keras_retinanet.modeling.tiling import Tiled, merge_tiles, tile_windows, with_tiles

__all__ = [
    "Detector",
    "Frame",
    "Line",
    "Tiled",
    "Tracker",
    "Video",
    "VideoOptions",
    "Zone",
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
        "counting": "Line Zone",
        "detector": "Detector",
        "merging": "fuse overlaps",
        "ray_data": "detect_files ray_detections",
        "tracking": "Tracker",
        "tta": "with_test_time",
        "videos": "VideoOptions annotate_video",
        ".files.videos": "Frame Video",
        ".modeling.tiling": "Tiled merge_tiles tile_windows with_tiles",
    },
)
