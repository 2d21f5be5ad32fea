"""The MMS client side of the CLI: associations, values, reports and comparisons."""
