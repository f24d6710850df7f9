"""`train(config)`: one run around `model.fit`."""
