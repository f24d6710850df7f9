"""A model -> files that applications load without this package: SavedModel, TFLite, ONNX."""
