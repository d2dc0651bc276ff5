"""Extract: from pixels to features."""

# Raise when results change: all that this stage has made is then made anew.
VERSION = 1
