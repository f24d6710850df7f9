"""One file a format, each giving a `Dataset`."""
