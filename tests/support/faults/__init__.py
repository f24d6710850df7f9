"""What real files do wrong: one table of faults, training over them, and fuzzing."""
