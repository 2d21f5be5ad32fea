"""Present state: meters, streams and their listeners."""
