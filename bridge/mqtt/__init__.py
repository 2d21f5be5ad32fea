"""The bridge's connection to the broker: what arrives, and what waits to be sent."""
