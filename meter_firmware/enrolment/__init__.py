"""How a meter gets its identity."""
