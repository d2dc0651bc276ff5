"""Tuning: mappers are learned from the features of training splits.

settings    what a user may choose of the training
collection  what is read of a split: its entries, its exemplars, where its queries are
batches     batches of rows of shards, in a random order, with a window of them in memory
heads       the mappers as torch modules
loss        the contrastive loss, and the penalty
validation  mAP of validation splits, by the ranking code
training    steps, early stopping, and the state from which a killed training goes on
tune        from manifests and shards to a checkpoint and its learning curve
"""

# Raise when the checkpoints change: all that was tuned is then tuned anew.
VERSION = 1
