"""Transcript files of many tools, read to one list of segments: speaker, start, end, text and optional words."""
