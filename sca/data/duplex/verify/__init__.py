"""Recompute the proof of a data set from its files."""
