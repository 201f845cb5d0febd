"""Executors beyond this machine: Ray, and arrays of Slurm."""
