"""Rank: exact ranks of exemplars among a database."""

# Raise when results change: all that this stage has made is then made anew.
VERSION = 2
SCORES_VERSION = 3  # of rankings by the scores in files
