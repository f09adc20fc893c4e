"""The ranking run, from data and models to a ranking, and its steps."""
