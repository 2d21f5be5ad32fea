"""Values and their mapping to data attributes; pure."""
