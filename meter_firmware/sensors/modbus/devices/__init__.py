"""Tables of registers: one file for each device or family of devices, which ends in its registration."""
