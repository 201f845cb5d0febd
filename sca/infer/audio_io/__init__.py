"""Microphones and loudspeakers."""
