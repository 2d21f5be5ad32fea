"""Hostile input on the MMS port: real captures, mutated by a seed, thrown at a real MMS bridge process."""
