"""An encoder, a score and a reader for voxrank."""
