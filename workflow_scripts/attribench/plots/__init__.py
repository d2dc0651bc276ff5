"""Figures of one split: metric bars, recall over k, ranks, metrics over the size of the database; how each is saved."""
