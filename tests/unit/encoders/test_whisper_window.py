"""Whisper's window with few positions of silence: which are computed, how attention counts them, and in any batch."""

from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from hypothesis import given
from hypothesis import strategies as st

import hf_models as models
from voxrank.config import EncoderOptions
from voxrank.encoders import whisper_window
from voxrank.encoders.registry import load_encoder
from voxrank.encoders.whisper_window import AUTO, WindowRule, cut_positions, spanned

one_thread = models.one_thread

WHOLE, HOP = 1500, 320


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Return a tiny random model with Whisper's window of 30 s, saved, and its encoder."""
    torch.manual_seed(0)
    model = tf.WhisperForConditionalGeneration(models.whisper_config()).eval()
    return models.save(tmp_path_factory.mktemp("whisper"), model, tf.WhisperFeatureExtractor()), model.model.encoder


@pytest.fixture(scope="module")
def auto(tiny):
    return load_encoder(tiny[0])


@given(kept=st.integers(1, WHOLE), whole=st.just(WHOLE) | st.integers(1, 200))
def test_every_position_of_the_window_is_counted_once(kept, whole):
    kept = min(kept, whole)
    chosen = spanned(kept, whole)
    assert sum(chosen.counts) == whole
    assert chosen.rows[:kept] == tuple(range(kept))
    assert chosen.counts[:kept] == (1,) * kept
    assert list(chosen.rows) == sorted(set(chosen.rows))
    assert (chosen.rows[-1], chosen.counts[-1]) == (whole - 1, 1)


def test_windows_of_different_lengths_have_different_numbers_of_positions():
    """The number identifies a window where batches are made."""
    sizes = [len(AUTO.positions(frames, WHOLE).rows) for frames in range(1, WHOLE + 1)]
    kept = [min(WHOLE, -(-(frames + AUTO.margin) // AUTO.step) * AUTO.step) for frames in range(1, WHOLE + 1)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == len(set(kept)) == len(set(zip(sizes, kept, strict=True)))


@pytest.mark.parametrize("frames", [1, 50, 500, 1450, 1476, 1500])
def test_silence_costs_about_a_second_and_the_margin(frames):
    size = len(AUTO.positions(frames, WHOLE).rows)
    assert frames <= size <= min(WHOLE, frames + AUTO.margin + AUTO.step + 55)


def test_a_rule_without_spans_cuts_the_window():
    assert WindowRule().positions(17, WHOLE).rows == tuple(range(17))
    assert WindowRule(margin=50, step=25).positions(1, WHOLE).counts == (1,) * 75
    assert len(WindowRule(margin=WHOLE).positions(17, WHOLE).rows) == WHOLE


def test_attention_counts_a_position_as_often_as_its_span_is_long(tiny):
    """A block with a row that counts three times equals the block with that row three times."""
    block = tiny[1].layers[0]
    weights = whisper_window.SilenceWeights([block])
    hidden = torch.randn(2, 4, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        repeated = block(torch.cat([hidden, hidden[:, 3:], hidden[:, 3:]], dim=1), None)[:, :4]
        plain = block(hidden, None)
        for arguments, named in (((hidden, None), {}), ((hidden,), {"attention_mask": None})):
            with weights.counting((1, 1, 1, 3), hidden.device):
                counted = block(*arguments, **named)
            torch.testing.assert_close(counted, repeated, atol=1e-5, rtol=1e-5)
    assert (plain - repeated).abs().max() > 1e-3


def test_auto_is_the_default_and_equals_full_if_no_span_is_longer_than_a_position(tiny, auto, monkeypatch):
    assert EncoderOptions().whisper_window == "auto"
    full = load_encoder(tiny[0], EncoderOptions(whisper_window="full"))
    monkeypatch.setattr(whisper_window, "GROWTH", 1.0)
    spanned.cache_clear()
    window = models.speech_like(10_000)
    assert auto.cost_samples(len(window)) == WHOLE * HOP
    for mine, whole in zip(auto.encode([window]), full.encode([window]), strict=True):
        torch.testing.assert_close(mine.frames, whole.frames, atol=1e-5, rtol=1e-5)
    spanned.cache_clear()


@pytest.mark.parametrize("samples", [400, 16_000, 100_000])
def test_auto_is_nearer_to_the_whole_window_than_two_seconds_of_silence(tiny, auto, samples):
    margin: Any = load_encoder(tiny[0], EncoderOptions(whisper_window="fit"))
    margin.rule = WindowRule(margin=100, step=25)
    full = load_encoder(tiny[0], EncoderOptions(whisper_window="full"))
    window = models.speech_like(samples)
    last, cut, whole = (list(encoder.encode([window]))[-1].frames for encoder in (auto, margin, full))
    assert len(last) == len(whole) == -(-samples // HOP)
    assert (last - whole).norm() < 0.5 * (cut - whole).norm()


def test_lengths_with_the_same_positions_share_a_pass_and_no_neighbour_changes_a_frame(auto):
    waveforms = [models.speech_like(n, seed=n) for n in (100, 7_999, 24_000, 8_000, 8_001, 31_000, 500_000)]
    sizes = []
    hook = auto._model.conv1.register_forward_pre_hook(lambda _, given: sizes.append(tuple(given[0].shape[::2])))
    parts = [[[] for _ in waveforms] for _ in auto.layers]
    for piece in auto.encode(waveforms):
        for owner, frames in enumerate(piece.frames.split(piece.lengths)):
            parts[piece.layer][owner].append(frames)
    hook.remove()
    positions = [len(AUTO.positions(-(-n // HOP), WHOLE).rows) for n in (250_000, 31_000, 24_000, 8_001, 100)]
    assert sizes == [(rows, 2 * n) for rows, n in zip((2, 1, 1, 1, 3), positions, strict=True)]
    for owner, waveform in enumerate(waveforms):
        for piece in auto.encode([waveform]):
            together = torch.cat(parts[piece.layer][owner])
            torch.testing.assert_close(together, piece.frames, atol=1e-5, rtol=1e-5)


def test_an_error_in_a_forward_pass_leaves_no_weights_behind(auto):
    def fail(*_):
        raise RuntimeError("stop")

    window = [models.speech_like(3_200)]
    before = list(auto.encode(window))[-1].frames
    hook = auto._model.layers[1].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="stop"):
        list(auto.encode(window))
    hook.remove()
    assert auto._weights._bias is None
    assert torch.equal(list(auto.encode(window))[-1].frames, before)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_auto_runs_in_half_precision(tiny, dtype):
    encoder = load_encoder(tiny[0], EncoderOptions(dtype=dtype, device="cpu"))
    pieces = list(encoder.encode([models.speech_like(16_000)]))
    exact = list(load_encoder(tiny[0], EncoderOptions(device="cpu")).encode([models.speech_like(16_000)]))
    for piece, other in zip(pieces, exact, strict=True):
        assert (piece.frames - other.frames).norm() < 0.05 * other.frames.norm()


def test_silence_alone_gives_finite_frames(auto):
    assert all(piece.frames.isfinite().all() for piece in auto.encode([np.zeros(16_000, np.float32)]))


@pytest.mark.parametrize("rows", [range(7), (0, 1, 5, 9)])
def test_cut_positions_takes_rows_of_the_table_and_restores_it_after_an_error(tiny, rows):
    encoder, table = tiny[1], tiny[1].embed_positions

    def fail_within():
        with cut_positions(encoder, rows):
            assert torch.equal(encoder.embed_positions.weight, table.weight[list(rows)])
            assert encoder.config.max_source_positions == encoder.embed_positions.num_embeddings == len(rows)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail_within()
    assert encoder.embed_positions is table
    assert encoder.config.max_source_positions == WHOLE
