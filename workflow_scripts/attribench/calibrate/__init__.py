"""Fit the calibrator of a method's influence on val splits: from rank files and score histograms to inv_tau and bias."""

# Raised whenever the same inputs give another calibrator: `calibrate` jobs then run again.
VERSION = 1
