"""The word times of models: how they are corrected, and the profiles with the measured corrections."""
