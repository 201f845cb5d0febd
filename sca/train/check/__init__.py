"""Checks of a model before its training: nothing hears the future, and the live loop computes the same logits."""
