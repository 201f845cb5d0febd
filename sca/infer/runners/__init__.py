"""Complete live sessions: on arrays, between files, and on audio devices."""
