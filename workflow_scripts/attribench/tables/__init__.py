"""The CSV tables, and the statistics in them."""
