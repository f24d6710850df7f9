"""What can be chosen, as frozen dataclasses with the paper's values, and as YAML."""
