"""The whole chain of programs on one machine, for `meter61850 up`."""
