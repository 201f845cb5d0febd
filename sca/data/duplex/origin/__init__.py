"""A data set against the corpus that it was made from."""
