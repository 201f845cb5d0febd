"""Incremental runs: what is done, what is left, and where the work is done."""
