"""One shard: audio, frames of every layer, sketches."""
