"""List the recipes for --config: what each is for, how long it takes, its AP.

Examples:
    keras_retinanet recipes
    keras_retinanet train voc --data_dir bccd --config bccd
"""

from argparse import ArgumentParser, Namespace

from keras_retinanet.config.reference import recipe_facts


def add_arguments(parser: ArgumentParser) -> None:
    """Add nothing: the command has no flags."""


def run(args: Namespace) -> int:
    """Print each recipe with what its header states."""
    for name, facts in recipe_facts().items():
        print(f"{name}\n    {facts['']}")
        for key in ("duration", "AP"):
            if key in facts:
                print(f"    {key}: {facts[key]}")
    return 0
