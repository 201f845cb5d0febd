"""The package name of earlier programs: `python -m sca_run.server` runs the live server of sca."""
