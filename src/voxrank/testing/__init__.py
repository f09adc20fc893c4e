"""Tools for tests of voxrank and plug-ins: a fake encoder, synthetic speech, and checks of encoders and scores."""
