"""Download a public weight file into the cache, resume if interrupted, and verify it.

Examples:
    keras_retinanet weights get torchvision_retinanet_resnet50_fpn_v2
    keras_retinanet predict images --model torchvision_retinanet_resnet50_fpn_v2

Files are kept in ~/.cache/keras_retinanet, or in $KERAS_RETINANET_HOME.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from keras_retinanet.commands.json_output import add_result


def add_arguments(parser: ArgumentParser) -> None:
    """Add the argument to the parser."""
    parser.add_argument("name", metavar="NAME", help="name from `keras_retinanet weights list`")


def run(args: Namespace) -> int:
    """Download the file and print where it is; return the exit code."""
    from keras_retinanet.checkpoints.built_in import built_in_models
    from keras_retinanet.checkpoints.catalogue_file import fetch, find_entry

    if args.name in built_in_models():
        model = built_in_models()[args.name]
        print(f"{model.path}: part of the package\nlicense: {model.metadata['license']}")
        _add_file(args, model.path, model.metadata["license"], f"sha256:{model.sha256}")
        return 0
    entry = find_entry(args.name)
    path = fetch(entry)
    checked = f"{entry.hash.replace(':', ' ')} verified" if entry.hash else "no hash is published"
    print(f"{path}: {path.stat().st_size:,} bytes, {checked}\nlicense: {entry.license}")
    _add_file(args, path, entry.license, entry.hash)
    return 0


def _add_file(args: Namespace, path: Path, license: str, hash: str) -> None:
    add_result(args, file=path, bytes=path.stat().st_size, hash=hash or None, license=license)
