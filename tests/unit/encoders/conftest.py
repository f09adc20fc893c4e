"""Shared checks of every encoder."""

import numpy as np
import pytest
import torch


def by_utterance(encoder, waveforms):
    """Return the frames of each waveform by layer."""
    pieces = {layer.index: [[] for _ in waveforms] for layer in encoder.layers}
    for piece in encoder.encode(waveforms):
        for owner, part in enumerate(piece.frames.split(piece.lengths)):
            pieces[piece.layer][owner].append(part)
    return {layer: [torch.cat(parts).numpy() for parts in owners] for layer, owners in pieces.items()}


def check_encoder(encoder, waveforms, tolerance=1e-5):
    """Check that frames are finite, of the declared size, and the same alone and in any batch."""
    together = by_utterance(encoder, waveforms)
    for position, waveform in enumerate(waveforms):
        alone = by_utterance(encoder, [waveform])
        for layer in encoder.layers:
            expected, got = alone[layer.index][0], together[layer.index][position]
            assert expected.dtype == np.float32
            assert expected.shape[1] == layer.dim
            assert np.isfinite(expected).all()
            np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))


@pytest.fixture(name="by_utterance")
def _by_utterance():
    return by_utterance


@pytest.fixture(name="check_encoder")
def _check_encoder():
    return check_encoder
