"""Servers: HTTP in front of what `sca.infer` does. Needs the extra `turn` or `serve`."""
