"""URLs in place of paths."""
