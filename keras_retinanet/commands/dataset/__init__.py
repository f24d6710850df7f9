"""Look at a data set before training on it, or write it in another form.

A group: its subcommands by name.
"""

from keras_retinanet.commands.dataset import convert, doctor, view

COMMANDS = {"convert": convert, "doctor": doctor, "view": view}
