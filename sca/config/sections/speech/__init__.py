"""Settings of speech engines."""
