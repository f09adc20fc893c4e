"""Helpers that do not depend on speech: files, memory, threads, plug-ins, JSON."""
