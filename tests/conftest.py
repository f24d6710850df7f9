"""Fixtures: where data lies, and one seed for every test."""

import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest

# Tests call commands that infer, and train, in one process.
os.environ["TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"] = "0"

GOLDENS = Path(__file__).parent / "goldens"
# Data that the project does not ship, beside the repository; a user's clone has none.
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def _shared(name: str, what: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"needs {what} in ../shared/data/{name}, which the project does not ship")
    return SHARED / name


@pytest.fixture(scope="session")
def tiny_coco() -> Path:
    """100 images of COCO 2017 with their annotations."""
    return _shared("tiny_coco", "images of COCO 2017 and their annotations")


@pytest.fixture(scope="session")
def coco_sample() -> Path:
    """The sample annotations and results that COCO's authors publish, with its figures."""
    return _shared("cocoapi", "the sample annotations and results of COCO's authors")


@pytest.fixture(scope="session")
def whole_bccd() -> Path:
    """All of BCCD, for figures of the whole of it."""
    return _shared("bccd", "the 268 images of BCCD that tests/assets lacks")


@pytest.fixture(scope="session")
def bccd() -> Path:
    """96 images of BCCD with their annotations, in Pascal VOC's layout."""
    return Path(__file__).parent / "assets" / "bccd"


@pytest.fixture(scope="session")
def real_coco(tmp_path_factory) -> Path:
    """Real images in COCO's layout: `real_sets.write_coco_set`."""
    from real_sets import write_coco_set

    folder = tmp_path_factory.mktemp("real") / "coco"
    write_coco_set(folder)
    return folder


@pytest.fixture(autouse=True)
def _seed():
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)
    else:  # all that Keras draws its own seeds from, should the test import it
        random.seed(0)
        np.random.seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
