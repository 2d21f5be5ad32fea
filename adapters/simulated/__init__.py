"""Simulated devices of other makers: what they publish and how they answer, without a socket."""
