"""The model zoo as Markdown: built-in models, what recipes reached, public checkpoints."""

import itertools

from keras_retinanet.checkpoints.built_in import built_in_models
from keras_retinanet.checkpoints.catalogue_file import catalogue
from keras_retinanet.config.reference import recipe_facts

NOT_RUN = "not run"


def zoo() -> str:
    """Return `docs/model_zoo.md`: models of ours, and public ones that can be imported."""
    return (
        "# Model zoo\n\n"
        "Written by `python docs/generate.py` from the model files, the recipes and the catalogue. "
        "A name in the first column of the first and the last table is what `--model` and "
        "`train --weights` take; `keras_retinanet weights list` prints them.\n\n"
        f"## Built in\n\n{_built_in()}\n"
        f"## Trained by our recipes\n\n{_trained()}\n"
        f"## Public models that can be imported\n\n{_public()}"
    )


def _built_in() -> str:
    parts = [
        "These files are part of the package: they work without a download. `predict`, `ui` and "
        "`info` take the first where no model is named and none was trained. Figures are those of "
        "the file itself, after its kernels were rounded to make it small "
        "(`benchmarks/built_in_model.py`); AP is COCO's, on the images that are named.\n"
    ]
    for model in built_in_models().values():
        facts = model.metadata
        rows = {
            "detects": f"{', '.join(model.class_names)}, in images of {facts['subject']}",
            "data": f"{facts['data']}, {facts['source']}: {facts['images_train']} images to train "
            f"on, {facts['images_val']} in val, {facts['images_test']} in test",
            "backbone": f"`{model.backbone}`",
            "command": f"`{facts['command']}`",
            "time": facts["duration"],
            **{
                f"{split}": f"AP {facts[f'AP_{split}']}, AP50 {facts[f'AP50_{split}']}"
                for split in ("test", "val")
            },
            "license": facts["license"],
            "size": f"{model.path.stat().st_size:,} bytes, {facts['rounding']}",
            "SHA-256": f"`{model.sha256}`",
        }
        table = [f"| `{model.name}` | |", "|---|---|"]
        parts.append("\n".join([*table, *(f"| {key} | {text} |" for key, text in rows.items())]))
    return "\n".join(parts) + "\n"


def _trained() -> str:
    rows = ["| recipe | command | time | hardware | AP |", "|---|---|---|---|---|"]
    for name, facts in recipe_facts().items():
        if not facts.get("AP", NOT_RUN).startswith(NOT_RUN):
            cells = [facts[key].replace("|", "\\|") for key in ("duration", "hardware", "AP")]
            rows.append(f"| `{name}` | `{facts['command']}` | {' | '.join(cells)} |")
    text = "Of each recipe that was run: its header. Only the built-in models are distributed."
    return "\n".join([text, "", *rows]) + "\n"


def _public() -> str:
    """Return a table for each publisher and license, which would fill long columns."""
    parts = [
        "AP in percent as published, on COCO val2017 unless another set is named; -: none was. "
        "License as the publisher's repository states it. See [checkpoints](checkpoints.md) for "
        "what is kept of each.\n"
    ]
    groups = itertools.groupby(catalogue().values(), lambda entry: (entry.source, entry.license))
    for (source, license), entries in groups:
        address, _, file = source.partition(" ")
        rows = ["| name | family | backbone | AP |", "|---|---|---|---|"]
        for entry in entries:
            cells = [f"[{entry.name}]({entry.address})", entry.family, entry.backbone, entry.figure]
            rows.append(f"| {' | '.join(cells)} |")
        repository = address.removeprefix("https://github.com/")
        parts.append(f"[{repository}]({address}), {file}. License: {license}.\n")
        parts.append("\n".join([*rows, ""]))
    return "\n".join(parts)
