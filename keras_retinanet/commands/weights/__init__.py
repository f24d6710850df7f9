"""List public weight files, or download one.

A group: its subcommands by name.
"""

from keras_retinanet.commands.weights import get, list

COMMANDS = {"list": list, "get": get}
