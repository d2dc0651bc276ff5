"""Rank: exact ranks of exemplars among a database."""

# Raise when results change: all that this stage has made is then made anew.
VERSION = 2
