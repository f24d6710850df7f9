"""A window with the frames of a video, where there is a display."""

import os
import sys

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.files.videos import opencv

# Keys that end the video: q and Escape.
ENDING = (ord("q"), 27)
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def check_display() -> None:
    """Raise a UserError where no window can be shown."""
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in DISPLAYS):
        raise UserError(
            f"Expected a display for --show. Received: neither {' nor '.join(DISPLAYS)} is set. "
            "Remove --show: the drawn video is written anyway."
        )


class Window:
    """A window of OpenCV.

    Raises:
        UserError: there is no display, or this OpenCV was built without windows.
    """

    def __init__(self, title: str):
        check_display()
        self._cv2, self._title = opencv(), title
        try:
            self._cv2.namedWindow(title, self._cv2.WINDOW_NORMAL)
        except self._cv2.error as error:
            raise UserError(
                "Expected an OpenCV with windows for --show. Received: one without. "
                "Install it: pip uninstall opencv-python-headless, then pip install opencv-python."
            ) from error

    def show(self, image: np.ndarray) -> bool:
        """Show a uint8 RGB frame (H, W, 3); return False once the reader pressed q or Escape."""
        self._cv2.imshow(self._title, np.ascontiguousarray(image[..., ::-1]))
        return (self._cv2.waitKey(1) & 0xFF) not in ENDING

    def close(self) -> None:
        """Close the window."""
        self._cv2.destroyWindow(self._title)
