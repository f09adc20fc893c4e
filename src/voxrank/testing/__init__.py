"""A fake encoder and small speech, for the tests of voxrank and of its plug-ins."""
