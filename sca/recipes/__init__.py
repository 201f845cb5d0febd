"""Recipes: a TOML file with commands of sca as stages, run in order as one resumable pipeline."""
