"""Encoded images: formats, headers, pixels."""
