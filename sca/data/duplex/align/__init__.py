"""Word times for corpora that do not provide them."""
