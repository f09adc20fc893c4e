"""Ways out of a ranking: tables as text and files, pictures, notebooks, model cards.

They take data frames and plain values, as `voxrank.results.ranking` makes them, and know nothing of rankings.
"""
