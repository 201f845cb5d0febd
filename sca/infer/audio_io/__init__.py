"""Microphones and loudspeakers: devices, backends, capture, playback and echo suppression."""
