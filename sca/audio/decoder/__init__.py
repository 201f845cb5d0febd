"""Decoder processes: recordings of others are parsed and decoded in child processes with limits."""
