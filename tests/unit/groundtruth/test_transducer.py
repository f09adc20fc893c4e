"""The transducer's loss against every path and against autograd; greedy decoding against transformers'."""

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import ParakeetEncoderConfig, ParakeetForRNNT, ParakeetRNNTConfig

from voxrank.groundtruth.transducer import greedy, transducer_loss

BLANK = 4


def random_case(sizes, *, symbols=5, seed=0, dtype=torch.float64):
    """Return logits, targets, frames and lengths of utterances of (frames, labels)."""
    generator = torch.Generator().manual_seed(seed)
    frames, lengths = torch.tensor(sizes).T
    shape = (len(sizes), int(frames.max()), int(lengths.max()) + 1, symbols)
    logits = 2 * torch.randn(shape, generator=generator, dtype=dtype)
    targets = torch.randint(0, BLANK, (shape[0], shape[2] - 1), generator=generator)
    return logits, targets, frames, lengths


def all_paths(logits, labels):
    """Return the negative log of the summed probability of every path through one utterance without padding."""
    log_probs, (n_frames, n_states) = logits.log_softmax(-1), logits.shape[:2]
    paths = []
    for places in combinations(range(n_frames + n_states - 2), n_states - 1):  # the last step is a blank
        t = u = 0
        total = log_probs[-1, -1, BLANK]
        for step in range(n_frames + n_states - 2):
            writes = step in places
            total = total + log_probs[t, u, labels[u] if writes else BLANK]
            t, u = (t, u + 1) if writes else (t + 1, u)
        paths.append(total)
    return -torch.stack(paths).logsumexp(0)


def recursion(logits, labels):
    """Return the same by Graves' forward recursion, one state at a time, with which autograd works."""
    log_probs, (n_frames, n_states) = logits.log_softmax(-1), logits.shape[:2]
    alpha = {(0, 0): torch.zeros((), dtype=logits.dtype)}
    for t in range(n_frames):
        for u in range(n_states):
            before = []
            if t:
                before.append(alpha[t - 1, u] + log_probs[t - 1, u, BLANK])
            if u:
                before.append(alpha[t, u - 1] + log_probs[t, u - 1, labels[u - 1]])
            if before:
                alpha[t, u] = torch.stack(before).logsumexp(0)
    return -(alpha[n_frames - 1, n_states - 1] + log_probs[-1, -1, BLANK])


def one_by_one(reference, logits, targets, frames, lengths):
    pairs = zip(logits, targets, frames.tolist(), lengths.tolist(), strict=True)
    return torch.stack([reference(row[:n, : m + 1], labels[:m].tolist()) for row, labels, n, m in pairs])


def gradient(loss, logits):
    """Return the gradient of a loss with another weight for each utterance."""
    (made,) = torch.autograd.grad(loss @ torch.arange(1.0, len(loss) + 1, dtype=loss.dtype), logits)
    return made


SIZES = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4)), min_size=1, max_size=4)


@given(sizes=SIZES, seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_the_loss_sums_all_paths_and_its_gradient_is_that_of_autograd(sizes, seed):
    case = random_case(sizes, seed=seed)
    logits = case[0].requires_grad_()
    loss = transducer_loss(*case, blank=BLANK)
    torch.testing.assert_close(loss, one_by_one(all_paths, *case))
    reference = one_by_one(recursion, *case)
    torch.testing.assert_close(loss, reference)
    torch.testing.assert_close(gradient(loss, logits), gradient(reference, logits))


def test_gradient_is_that_of_finite_differences():
    logits, *rest = random_case([(4, 2), (2, 3), (3, 0)], seed=1)
    assert torch.autograd.gradcheck(lambda x: transducer_loss(x, *rest, blank=BLANK), logits.requires_grad_())


def test_the_loss_of_equal_probabilities_is_known_exactly():
    # Two frames, one label, and equal probability of all V = 5 symbols: two paths of three steps.
    logits = torch.zeros(1, 2, 2, 5)
    loss = transducer_loss(logits, torch.tensor([[0]]), torch.tensor([2]), torch.tensor([1]), BLANK)
    torch.testing.assert_close(loss, torch.tensor([5**3 / 2]).log())


def test_an_empty_target_is_blank_in_every_frame():
    logits, targets, frames, lengths = random_case([(4, 0), (2, 0)], seed=2)
    log_probs = logits.log_softmax(-1)[:, :, 0, BLANK]
    expected = -torch.stack([log_probs[0].sum(), log_probs[1, :2].sum()])
    torch.testing.assert_close(transducer_loss(logits, targets, frames, lengths, BLANK), expected)


def test_padding_does_not_change_the_loss_or_the_gradient():
    logits, targets, frames, lengths = random_case([(5, 3), (2, 1), (3, 0)], seed=3)
    wild, other = logits.clone(), targets.clone()
    for row, (n, m) in enumerate(zip(frames.tolist(), lengths.tolist(), strict=True)):
        wild[row, n:] = torch.nan
        wild[row, :, m + 1 :] = torch.inf
        other[row, m:] = -100
    clean, spoilt = (
        (transducer_loss(x.requires_grad_(), y, frames, lengths, BLANK), x)
        for x, y in ((logits, targets), (wild, other))
    )
    torch.testing.assert_close(spoilt[0], clean[0], rtol=0, atol=0)
    torch.testing.assert_close(gradient(*spoilt), gradient(*clean), rtol=0, atol=0)
    assert not gradient(*random_padded())[0, 2:].any()


def random_padded():
    logits, targets, _, _ = random_case([(4, 2)], seed=4)
    loss = transducer_loss(logits.requires_grad_(), targets, torch.tensor([2]), torch.tensor([1]), BLANK)
    return loss, logits


def test_the_blank_may_be_any_symbol():
    logits, targets, frames, lengths = random_case([(4, 3), (3, 2)], seed=5)
    first = transducer_loss(logits.roll(1, -1), targets + 1, frames, lengths, 0)
    torch.testing.assert_close(first, transducer_loss(logits, targets, frames, lengths, BLANK))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_less_precise_logits_give_about_the_same_loss(dtype, tolerance):
    case = random_case([(40, 20), (33, 7)], seed=6)
    loss = transducer_loss(case[0].to(dtype), *case[1:], blank=BLANK)
    assert loss.dtype == dtype
    torch.testing.assert_close(loss.double(), transducer_loss(*case, blank=BLANK), rtol=tolerance, atol=0)


def test_impossible_labels_have_infinite_loss_and_no_gradient():
    logits, targets, frames, lengths = random_case([(3, 2), (3, 2)], seed=7)
    logits[0, :, :, targets[0, 0]] = -torch.inf
    loss = transducer_loss(logits.requires_grad_(), targets, frames, lengths, BLANK)
    assert loss.isinf().tolist() == [True, False]
    made = gradient(loss, logits)
    assert made.isfinite().all()
    assert not made[0].any()
    assert made[1].any()


BAD = {
    "expected logits as floats of shape": {"logits": torch.zeros(2, 3, 5)},
    r"got torch\.int64 of shape": {"logits": torch.zeros(2, 3, 3, 5, dtype=torch.int64)},
    r"expected targets of shape \(2, 2\) for these logits, got \(2, 3\)": {
        "targets": torch.zeros(2, 3, dtype=torch.int64)
    },
    "expected targets as whole numbers": {"targets": torch.zeros(2, 2)},
    "expected targets among the 5 symbols other than the blank 4, got 4": {"targets": torch.full((2, 2), BLANK)},
    "other than the blank 4, got -1": {"targets": torch.full((2, 2), -1)},
    r"expected frames as 2 whole numbers from 1 to 3, got \[4, 1\]": {"frames": torch.tensor([4, 1])},
    r"expected frames as 2 whole numbers from 1 to 3, got \[3, 0\]": {"frames": torch.tensor([3, 0])},
    r"expected frames as 2 whole numbers from 1 to 3, got \[3\]": {"frames": torch.tensor([3])},
    r"expected lengths as 2 whole numbers from 0 to 2, got \[3, 0\]": {"lengths": torch.tensor([3, 0])},
    r"from 0 to 2, got \[1\.0, 0\.0\]": {"lengths": torch.tensor([1.0, 0.0])},
    "expected a blank among the 5 symbols, got 5": {"blank": 5},
}


@pytest.mark.parametrize("message", BAD)
def test_wrong_arguments_of_the_loss_are_refused(message):
    logits, targets, frames, lengths = random_case([(3, 2), (2, 1)])
    given = {"logits": logits, "targets": targets, "frames": frames, "lengths": lengths, "blank": BLANK} | BAD[message]
    with pytest.raises(ValueError, match=message):
        transducer_loss(**given)


@pytest.fixture(scope="module")
def model():
    """Return a small random transducer that writes a label in about half of its states."""
    encoder = ParakeetEncoderConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        subsampling_factor=4,
        subsampling_conv_channels=4,
        num_mel_bins=16,
        layerdrop=0.0,
    )
    torch.manual_seed(0)
    made = ParakeetForRNNT(
        ParakeetRNNTConfig(
            vocab_size=6,
            decoder_hidden_size=12,
            num_decoder_layers=2,
            encoder_config=encoder,
            blank_token_id=5,
            pad_token_id=5,
            decoder_start_token_id=5,  # type: ignore[call-arg]  # kept by the base class
            max_symbols_per_step=3,
        )
    ).eval()
    for part in (made.decoder, made.joint, made.encoder_projector):
        for weight in part.parameters():
            nn.init.normal_(weight, std=0.7 if weight.ndim > 1 else 0.1)
    return made


def without_blanks(row):
    return [symbol for symbol in row if symbol != 5]


def test_greedy_decoding_equals_that_of_transformers(model):
    mels = torch.randn(6, 60, 16, generator=torch.Generator().manual_seed(1))
    real = torch.arange(60) < torch.tensor([60, 48, 33, 20, 9, 60])[:, None]
    expected = [
        without_blanks(
            model.generate(x[None, : int(r.sum())], attention_mask=r[None, : int(r.sum())], max_new_tokens=200)
            .sequences[0]
            .tolist()
        )
        for x, r in zip(mels, real, strict=True)
    ]
    with torch.no_grad():
        encoded = model.get_audio_features(mels, attention_mask=real)
    frames = encoded.attention_mask.sum(-1)
    written = greedy(model.joint, model.decoder, encoded.pooler_output, frames, blank=5, max_symbols=3)
    assert written == expected
    assert len({tuple(row) for row in written}) > 3


def test_greedy_decoding_limits_the_symbols_of_a_frame(model):
    def talkative(symbols, frames):
        return torch.nn.functional.one_hot(torch.full((len(symbols),), 2), 6).float()

    encoded = torch.zeros(3, 4, 12)
    written = greedy(talkative, model.decoder, encoded, torch.tensor([4, 1, 0]), blank=5, max_symbols=2)
    assert written == [[2] * 8, [2] * 2, []]


def test_wrong_arguments_of_greedy_decoding_are_refused(model):
    encoded = torch.zeros(2, 4, 12)
    with pytest.raises(ValueError, match=r"expected frames as 2 whole numbers from 0 to 4, got \[5, 1\]"):
        greedy(model.joint, model.decoder, encoded, torch.tensor([5, 1]), blank=5)
    with pytest.raises(ValueError, match="at least one symbol in a frame, got max_symbols=0"):
        greedy(model.joint, model.decoder, encoded, torch.tensor([4, 1]), blank=5, max_symbols=0)
