"""Exports of a ranking: tables as text and files, pictures, notebooks, model cards.

The functions take rows and plain values from `voxrank.results.ranking`, and do not depend on rankings.
"""
