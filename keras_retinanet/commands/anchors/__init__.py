"""Fit the anchors to a data set.

A group: its subcommands by name.
"""

from keras_retinanet.commands.anchors import fit

COMMANDS = {"fit": fit}
