"""An encoder, a score and a reader as plug-ins for voxrank."""
