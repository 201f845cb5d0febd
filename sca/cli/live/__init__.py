"""`sca live`."""
