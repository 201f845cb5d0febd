"""The command `sca watch`."""
