"""Weights of other systems: one file per family or file format, each reading what it names."""
