"""Check, view, review, convert or tile a data set.

A group: its subcommands by name.
"""

from keras_retinanet.commands.dataset import convert, doctor, review, tile, view

COMMANDS = {
    "convert": convert,
    "doctor": doctor,
    "review": review,
    "tile": tile,
    "view": view,
}
