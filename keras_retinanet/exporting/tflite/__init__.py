"""A model as one TensorFlow Lite file."""
