"""How a meter gets its certificate."""
