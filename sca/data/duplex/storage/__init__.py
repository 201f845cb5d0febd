"""Tables, records and settings of a data set on disk."""
