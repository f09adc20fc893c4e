"""Aligners: transcripts → when each unit is heard."""
