"""`sca train`."""
