"""The command `sca say`."""
