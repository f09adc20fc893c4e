"""Sketches on disk: nothing is encoded twice, and a run that was stopped goes on."""
