"""Audience-reaction detectors."""
