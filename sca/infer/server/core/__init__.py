"""What all endpoints share: the server context, sessions, limits, keys, metrics."""
