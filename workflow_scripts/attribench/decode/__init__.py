"""Decode: from image files to the pixels that networks see."""

# Raise when results change: all that this stage has made is then made anew.
VERSION = 4
