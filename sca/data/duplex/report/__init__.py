"""The report of a data set, its plots and its dataset card."""
