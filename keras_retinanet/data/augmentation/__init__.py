"""Random changes to training pictures and their boxes."""
