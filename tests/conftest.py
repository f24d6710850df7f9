"""Fixtures: where data lies, and one seed for every test."""

from pathlib import Path

import numpy as np
import pytest

GOLDENS = Path(__file__).parent / "goldens"


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real pictures beside the repository; a user's clone has none."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("needs the real pictures in ../shared/data, which this machine lacks")
    return folder


@pytest.fixture(autouse=True)
def _seed():
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
