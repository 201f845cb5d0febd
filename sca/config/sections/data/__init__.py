"""Settings of the commands that make training data."""
