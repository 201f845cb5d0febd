"""Corpora with recordings in tables (Hugging Face) or archives (lhotse Shar) instead of files."""
