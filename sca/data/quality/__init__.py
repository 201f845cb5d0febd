"""The quality of recordings: level, noise, clipping, bandwidth, and copies."""
