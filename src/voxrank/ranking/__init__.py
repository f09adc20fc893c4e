"""Data and models to a ranking: the whole run, and its steps."""
