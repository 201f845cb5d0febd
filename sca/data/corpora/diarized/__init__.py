"""The turns of a recording of one channel: speech alone, overlaps, and their separation by a model."""
