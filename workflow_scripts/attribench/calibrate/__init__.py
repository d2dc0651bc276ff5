"""Fit the calibrator of a method's influence to val splits: from rank files and score histograms to inv_tau and bias."""
