"""Pure values of oversight: what is written down about one record."""
