"""List the recipes for --config: what each is for, how long it takes, its AP.

Examples:
    keras_retinanet recipes
    keras_retinanet train voc --data_dir bccd --config bccd
"""

from argparse import ArgumentParser, Namespace

from keras_retinanet.commands.json_output import add_result
from keras_retinanet.config.reference import HEADER, recipe_facts


def add_arguments(parser: ArgumentParser) -> None:
    """Add nothing: the command has no flags."""


def run(args: Namespace) -> int:
    """Print each recipe with what its header states."""
    recipes = recipe_facts()
    for name, facts in recipes.items():
        print(f"{name}\n    {facts['']}")
        for key in ("duration", "AP"):
            if key in facts:
                print(f"    {key}: {facts[key]}")
    add_result(args, recipes=[_as_object(name, facts) for name, facts in recipes.items()])
    return 0


def _as_object(name: str, facts: dict[str, str]) -> dict[str, str | None]:
    return {"name": name, "summary": facts[""], **{key: facts.get(key) for key in HEADER}}
