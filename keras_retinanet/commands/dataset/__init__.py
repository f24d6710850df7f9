"""Check, view, convert or tile a data set.

A group: its subcommands by name.
"""

from keras_retinanet.commands.dataset import convert, doctor, tile, view

COMMANDS = {"convert": convert, "doctor": doctor, "tile": tile, "view": view}
