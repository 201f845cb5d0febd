"""Detectors of audience reactions and other sounds, and their evaluation."""
