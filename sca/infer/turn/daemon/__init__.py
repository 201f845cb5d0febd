"""The turn server as a background process."""
