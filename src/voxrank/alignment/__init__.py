"""Transcripts to labels of frames: aligners, the targets that they make, and their files."""
