"""Aligners, which turn transcripts into labels of frames, and the files of alignments."""
