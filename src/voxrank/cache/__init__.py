"""The cache of sketches on disk. Nothing is encoded twice, and an interrupted run continues."""
