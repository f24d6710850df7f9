"""A model to files that applications load without this package."""
