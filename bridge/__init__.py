"""Placeholder; replaced by the package's own docstring."""
