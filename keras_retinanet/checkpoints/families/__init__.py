"""One file a system: its names, its graph, how ours is made of it."""
