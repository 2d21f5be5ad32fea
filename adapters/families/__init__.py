"""One file for each family of devices: what its messages mean, without a socket or a clock."""
