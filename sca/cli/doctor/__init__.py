"""The command `sca doctor`: its checks and its table."""
