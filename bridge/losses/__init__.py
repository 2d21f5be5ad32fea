"""Losses of feeders and transformers, and what is worth a look at a house; computed from load profiles."""
