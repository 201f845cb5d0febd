"""Show data sets: recordings of one speaker before an audience, cut into rows of context and target speech."""
