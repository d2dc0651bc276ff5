"""The files that several stages read or write."""
