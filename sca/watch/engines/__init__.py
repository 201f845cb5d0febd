"""Vision engines: models that look at frames and say something about them."""
