"""Run a live session on files or on audio devices."""
