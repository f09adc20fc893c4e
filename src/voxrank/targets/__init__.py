"""Targets: what each sample should be explained by."""
