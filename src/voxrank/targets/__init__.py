"""Targets: the labels, values or units that the features of each sample should predict."""
