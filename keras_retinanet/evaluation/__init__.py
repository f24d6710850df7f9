"""A detector over a data set: figures, errors, a report."""
