"""The SCD and the CIDs that the bridge publishes."""
