"""Sensors on Modbus RTU or TCP. Each device is a literal table of registers, in a file of `devices`."""
