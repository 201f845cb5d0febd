"""Recordings of people talking become training data."""
