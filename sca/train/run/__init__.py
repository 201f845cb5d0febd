"""A training run: its data, arguments, checkpoints and log."""
