"""Vision engines: models that look at frames and comment on them."""
