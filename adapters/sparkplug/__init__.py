"""Sparkplug B 3.0: payload, sessions of edge nodes, our own edge node."""
