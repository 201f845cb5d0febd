"""`sca browse`."""
