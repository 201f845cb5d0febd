"""Readers of two-speaker corpora: one module per layout, and a registry that detects the layout."""
