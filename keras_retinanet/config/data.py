"""The data section of the configuration: images, boxes and their augmentation."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from keras_retinanet.config.options import Count, Fraction, PositiveFloat, PositiveInt, Side, option


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of training images; all off but the flip, as in the paper's Table 1."""

    flip: Fraction = option(0.5, "Probability of a horizontal flip.")
    flip_vertical: Fraction = option(0.0, "Probability of a vertical flip.")
    rotate90: Fraction = option(0.0, "Probability of a rotation by 90, 180 or 270 degrees.")
    rotate: Annotated[float, Field(ge=0, le=180)] = option(
        0.0, "Maximum rotation about the image's center, in degrees."
    )
    # Two shears of 45 degrees leave no area.
    shear: Annotated[float, Field(ge=0, le=40)] = option(
        0.0, "Maximum shear of each axis, in degrees."
    )
    translate: Fraction = option(
        0.0, "Maximum translation, as a fraction of the image's width and height."
    )
    round_objects: bool = option(
        False,
        "Whether `rotate` and `shear` take an object for the ellipse in its box (Kalra et al. "
        "2021) instead of the whole box, so that the new box is tighter; for round objects.",
    )
    short_sides: tuple[Side, ...] = option(
        (),
        "Short sides to draw from for each image (multi-scale training); empty: always "
        "`model.preprocessing.short_side`.",
    )
    scale: Annotated[tuple[PositiveFloat, PositiveFloat], Field()] = option(
        (1.0, 1.0),
        "Range of scale jitter: the resized image is scaled by a factor from this range, then "
        "cropped or padded to the same canvas. Large-scale jitter (Ghiasi et al. 2021) is "
        "[0.1, 2].",
    )
    color: Fraction = option(
        0.0, "Maximum change of brightness, contrast and saturation, as a fraction."
    )
    hue: Fraction = option(0.0, "Maximum rotation of the hue, as a fraction of the circle.")
    photometric: Fraction = option(
        0.0, "Probability of SSD's photometric distortion (Liu et al. 2016, section 3.6)."
    )
    blur: Annotated[float, Field(ge=0, le=16)] = option(
        0.0,
        "Maximum standard deviation of a Gaussian blur, in pixels of the network's input.",
    )
    noise: Fraction = option(
        0.0, "Maximum standard deviation of Gaussian noise, as a fraction of the range of values."
    )
    jpeg: Fraction = option(
        0.0, "Maximum loss of JPEG quality, as a fraction; 0.7 draws qualities from 30 to 100."
    )
    erase: Fraction = option(
        0.0, "Probability that a rectangle is filled with noise (Zhong et al. 2017)."
    )
    grid_mask: Fraction = option(
        0.0, "Probability that a grid of squares is hidden (GridMask, Chen et al. 2020)."
    )
    mixup: Fraction = option(0.0, "Probability of blending two images.")
    mosaic: Fraction = option(0.0, "Probability of joining four images.")
    copy_paste: Fraction = option(
        0.0,
        "Probability of pasting boxes of another image; each of its boxes is pasted with "
        "probability 1/2.",
    )
    cutmix: Fraction = option(
        0.0, "Probability of pasting a rectangle of another image (Yun et al. 2019)."
    )
    close_mosaic: Fraction = option(
        0.0,
        "Fraction of the run, at its end, without `mosaic`, `copy_paste`, `cutmix` and `mixup`, so "
        "that the detector ends on images like those it will see; 0: mix to the end. YOLOX and "
        "Ultralytics close the last 15 of 300 and 10 of 100 epochs.",
    )
    min_visible: Fraction = option(
        0.1, "Minimum fraction of its area that a box keeps in a crop; otherwise it is dropped."
    )
    layers: tuple[str | dict[str, dict[str, Any]], ...] = option(
        (),
        "Preprocessing layers of Keras that move no pixel, such as RandAugment, or with arguments "
        "{RandAugment: {factor: 0.3}}, applied after all changes above.",
    )
    function: str | None = option(
        None,
        "Your own function as module:function, called with each training image, its boxes, classes "
        "and ignore flags after all other changes; the working folder is looked into too.",
    )


@dataclass(frozen=True)
class DataConfig:
    """Images and boxes. `source` is the DATASET argument of the command line."""

    source: str = option(
        "coco",
        "Format of the data set: coco, voc, csv, yolo, openimages, kitti, tfrecord, tfds or "
        "shapes.",
    )
    data_dir: str | None = option(
        None,
        "Folder of the data set; tfrecord: also a pattern of files, such as shards/train-*; none: "
        "the usual place of the source, such as data/coco.",
    )
    name: str | None = option(
        None, "tfds: name of the data set, such as coco/2017. voc: year of the devkit."
    )
    annotations: str | None = option(
        None,
        "Annotation file (coco, csv, yolo, openimages) or folder (voc), instead of the source's "
        "own layout.",
    )
    images: str | None = option(None, "Image folder of `annotations`.")
    split: str | None = option(None, "Split to train on; none: the training split of the source.")
    val_split: str | None = option(
        None,
        "Split to select the best model on; none: the validation split of the source, or else a "
        'held-out tenth of the training split; "none": train on everything.',
    )
    classes: tuple[str, ...] = option((), "Classes to keep, in this order; empty: all.")
    one_based: bool | None = option(
        None,
        "Whether VOC boxes start at 1, as in a VOCdevkit, instead of 0; none: decided by the "
        "folder.",
    )
    units: Literal["pixels", "fractions", "percent"] | None = option(
        None,
        "Unit of the boxes: pixels, or fractions or percent of the image's sides; none: that of "
        "the format, and boxes that look written in another one are an error.",
    )
    unmatched: Literal["refuse", "accept"] = option(
        "refuse",
        "What to do where many images have no label file and many label files have no image: "
        "refuse the data set, or accept it: such images are background (yolo) or skipped.",
    )
    max_boxes: Count | Literal["auto"] = option(
        100,
        "Maximum number of ground-truth boxes per image; the regions of further ones are ignored "
        'in training, which is counted; "auto": as many as the fullest image has.',
    )
    balance: Fraction = option(
        0.0,
        "Class-balanced sampling (repeat factors, Gupta et al. 2019): a training image whose "
        "rarest class is in a fraction f of the images is drawn sqrt(balance / f) times per pass, "
        "at least once. LVIS uses 0.001; 0: each image once.",
    )
    strict: bool = option(
        False,
        "Stop at the first problem in the data, instead of repairing or skipping and counting it.",
    )
    allow_outside: bool = option(
        False, 'Read images that annotations place outside the data folder (absolute names, "..").'
    )
    exif: Literal["stored", "apply"] = option(
        "stored",
        'Handling of EXIF orientation: "stored" keeps pixels as stored, as COCO annotates them; '
        '"apply" rotates the image and its boxes.',
    )
    cache: str | None = option(
        None,
        'Cache of resized images: "memory", or a folder for TFRecord shards; none: decode every '
        "time.",
    )
    class_file: str | None = option(
        None,
        "csv: file with one class per line, as name or name,id; none: the names in use, sorted.",
    )
    hierarchy: bool = option(
        False, "openimages: count a box for the parents of its class too, as the challenge does."
    )
    shapes_train: PositiveInt = option(600, "shapes: number of scenes to train on.")
    shapes_val: PositiveInt = option(
        60, "shapes: number of scenes to validate on, and again to test on."
    )
    shapes_size: Side = option(256, "shapes: side of a scene in pixels.")
    shapes_clutter: bool = option(
        False,
        "shapes: draw harder scenes: one to three small objects among dozens of distractors, many "
        "of which are parts of shapes, and one class that is rare.",
    )
    augment: AugmentConfig = field(default_factory=AugmentConfig)
