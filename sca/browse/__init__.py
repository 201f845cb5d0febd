"""The rows of a data set as a table in the browser: filters, distributions, sound, and a list of rows to leave out."""
