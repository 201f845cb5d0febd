"""Word times: given by the corpus, interpolated by letters, or found by a model."""
