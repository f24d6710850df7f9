"""Check, view or convert a data set.

A group: its subcommands by name.
"""

from keras_retinanet.commands.dataset import convert, doctor, view

COMMANDS = {"convert": convert, "doctor": doctor, "view": view}
