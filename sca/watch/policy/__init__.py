"""When to look, what to speak and when it is played: synchronous classes that are given the time in microseconds."""
