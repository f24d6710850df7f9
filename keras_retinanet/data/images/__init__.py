"""Image files: headers, orientation, pixels."""
