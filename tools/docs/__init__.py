"""Generators of the files in docs/ that follow from the code."""
