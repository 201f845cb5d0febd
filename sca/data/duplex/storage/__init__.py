"""Files of a duplex data set: records, Arrow tables, settings."""
