"""From messages to rows: parsed, judged, stored exactly once."""
