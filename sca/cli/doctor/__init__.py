"""`sca doctor`."""
