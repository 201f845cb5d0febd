"""From timed words to training rows on the grid."""
