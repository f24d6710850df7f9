"""Processes that this one starts, and signals that end it."""
