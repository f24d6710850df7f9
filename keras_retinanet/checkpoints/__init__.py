"""Public RetinaNets by family: listed, fetched, imported, written."""
