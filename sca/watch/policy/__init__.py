"""When to look, what to say and when it is played: synchronous classes that are given the time in microseconds."""
