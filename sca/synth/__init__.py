"""Conversations with exact truth: scripts, voices, timing, rooms and lines to recordings with the times of every word."""
