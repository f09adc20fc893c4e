"""Readers of data sets, one per format, and decoders of audio that run ahead of the encoder."""
