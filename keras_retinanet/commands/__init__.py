"""The subcommands by name: modules with `add_arguments(parser)` and `run(args) -> exit code`.

A module's docstring is its help: one line, then examples. TensorFlow is imported inside `run`, so
that `--help` answers at once. A group, such as `dataset`, has `COMMANDS` of its own instead.
"""

from keras_retinanet.commands import (
    anchors,
    benchmark,
    dataset,
    evaluate,
    export,
    import_checkpoint,
    info,
    launch,
    options,
    predict,
    recipes,
    report,
    serve,
    share,
    train,
    tune,
    ui,
    weights,
)

COMMANDS = {
    "train": train,
    "tune": tune,
    "launch": launch,
    "evaluate": evaluate,
    "predict": predict,
    "report": report,
    "ui": ui,
    "serve": serve,
    "info": info,
    "import": import_checkpoint,
    "export": export,
    "share": share,
    "weights": weights,
    "dataset": dataset,
    "anchors": anchors,
    "benchmark": benchmark,
    "recipes": recipes,
    "options": options,
}
