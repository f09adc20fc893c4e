"""What sketches tell of layers beside their scores: classes, pictures, other columns, learning curves."""
