"""Weight files of other systems, read without running anything from them."""
