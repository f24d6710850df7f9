"""Picture files: headers, orientation, pixels."""
