"""Augmentation: conversations with changed pauses and overlaps."""
