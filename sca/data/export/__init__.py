"""Exports of a duplex data set to the formats of other libraries."""
