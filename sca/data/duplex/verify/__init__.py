"""Verification: recompute everything that a data set claims from its files."""
