"""Records to batches: the plan, pixels, the cache, the batches."""
