"""Marks on pictures, and pages that hold all they show."""
