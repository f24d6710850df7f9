"""Labels reviewed by a model: what may be wrong with them, a page to decide, a corrected copy."""
