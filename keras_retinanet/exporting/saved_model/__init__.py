"""A model as a SavedModel folder."""
