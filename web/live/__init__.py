"""What is now: live state, streams and their listeners."""
