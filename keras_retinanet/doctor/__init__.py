"""Looks at a data set before training."""
