"""The numbers of a classifier on a split."""
