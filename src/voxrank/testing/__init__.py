"""A fake encoder, small speech, and batteries for your own encoders and scores: for tests of voxrank and plug-ins."""
