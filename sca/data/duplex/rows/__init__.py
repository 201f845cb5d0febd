"""From words and segments to rows on the grid."""
