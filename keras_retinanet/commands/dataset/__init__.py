"""Check, view, review, extend, convert or tile a data set.

A group: its subcommands by name.
"""

from keras_retinanet.commands.dataset import convert, doctor, next_images, review, tile, view

COMMANDS = {
    "convert": convert,
    "doctor": doctor,
    "next": next_images,
    "review": review,
    "tile": tile,
    "view": view,
}
