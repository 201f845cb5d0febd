"""The commands `sca models …`."""
