"""`sca run`."""
