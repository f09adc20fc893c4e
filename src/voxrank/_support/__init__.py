"""Helpers that know nothing of speech: files, memory, threads, plug-ins, JSON."""
