"""A checkpoint's own transducer as the head keeps its weights, and gives the checkpoint's output and loss."""

from types import SimpleNamespace

import pytest
import tokenizers
import torch
import transformers as tf

import hf_models as models
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError
from voxrank.groundtruth.answers import BLANK, SPACE, Answers
from voxrank.groundtruth.transducer import greedy, transducer_loss
from voxrank.groundtruth.transducer_head import TransducerHead, load_transducer, transducer_heads

one_thread = models.one_thread

PIECES = ("▁", "a", "b", "c", "d", "e", "f", "g", "h", "i", "<unk>")
OWN_BLANK = 11


def save_tokenizer(place, pieces=PIECES):
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    tf.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>").save_pretrained(place)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    place = tmp_path_factory.mktemp("rnnt")
    save_tokenizer(place)
    return models.save(place, *models.build("parakeet-rnnt"))


@pytest.fixture(scope="module")
def whole(directory):
    return load_transducer(str(directory))


@pytest.fixture(scope="module")
def make(directory):
    """Return a function that makes a head for named units."""
    encoder = load_encoder(directory)
    return lambda *names: transducer_heads(encoder, models.HIDDEN, answers(*names))()


def answers(*names):
    return Answers(names, {}, sequences=True, metric="cer")


def batch(seed=0):
    """Return frames of three utterances, and their transcripts in the checkpoint's numbers."""
    rng = torch.Generator().manual_seed(seed)
    hidden = 3 * torch.randn(3, 9, models.HIDDEN, generator=rng)
    targets = torch.tensor([[1, 0, 3, 2], [7, 7, 0, 0], [5, 0, 0, 0]])
    return hidden, torch.tensor([9, 6, 4]), targets, torch.tensor([4, 2, 1])


def test_rows_of_known_units_are_kept_and_other_rows_start_at_the_mean(make, whole):
    head = make(SPACE, "b", "ä", "a")
    tables = [
        (head.decoder.embedding.weight, whole.decoder.embedding.weight),
        (head.joint.head.weight, whole.joint.head.weight),
        (head.joint.head.bias, whole.joint.head.bias),
    ]
    for made, own in tables:
        mean = own[: len(PIECES)].mean(0)
        torch.testing.assert_close(made, torch.stack([own[OWN_BLANK], own[0], own[2], mean, own[1]]), rtol=0, atol=1e-7)
    assert head.decoder.blank_token_id == BLANK == 0
    assert head.joint.vocab_size == head.joint.head.out_features == head.decoder.embedding.num_embeddings == 5


@pytest.mark.parametrize("mark", ["▁", "Ġ", "|", " "])
def test_every_spelling_of_the_space_is_known(tmp_path, mark):
    save_tokenizer(tmp_path, (mark, *PIECES[1:]))
    place = models.save(tmp_path, *models.build("parakeet-rnnt"))
    head = transducer_heads(load_encoder(place), models.HIDDEN, answers("a", SPACE))()
    own = load_transducer(str(place)).joint.head.weight
    assert torch.equal(head.joint.head.weight, own[[OWN_BLANK, 1, 0]])


def test_all_other_weights_are_those_of_the_checkpoint(make, whole):
    head = make("a")
    parts = {"projector": whole.encoder_projector, "decoder": whole.decoder, "joint": whole.joint}
    for name, part in parts.items():
        own, made = part.state_dict(), getattr(head, name).state_dict()
        assert made.keys() == own.keys()
        kept = [key for key in own if not key.startswith(("embedding", "head"))]
        assert all(torch.equal(made[key], own[key]) for key in kept)
    assert all(p.requires_grad for p in head.parameters())
    assert not any(p.requires_grad for p in whole.parameters())


def own_units(*pieces):
    return [SPACE if piece == "▁" else piece for piece in pieces]


def test_the_loss_is_that_of_the_checkpoints_own_logits(make, whole):
    hidden, lengths, targets, counts = batch()
    begun = torch.nn.functional.pad(targets, (1, 0), value=OWN_BLANK)
    encoded = SimpleNamespace(
        pooler_output=whole.encoder_projector(hidden), last_hidden_state=None, hidden_states=None, attentions=None
    )
    logits = whole(decoder_input_ids=begun, encoder_outputs=encoded).logits
    expected = transducer_loss(logits, targets, lengths, counts, OWN_BLANK).sum() / counts.sum()
    head = make(*own_units(*PIECES))
    padded = (targets + 1).where(torch.arange(4) < counts[:, None], 0)  # padded as targets of a batch are
    torch.testing.assert_close(head.loss(hidden, lengths, padded, counts), expected, rtol=1e-5, atol=0)
    turned = make(*reversed(own_units(*PIECES)))  # in any order of the units
    padded = (len(PIECES) - targets).where(torch.arange(4) < counts[:, None], 0)
    torch.testing.assert_close(turned.loss(hidden, lengths, padded, counts), expected, rtol=1e-5, atol=0)


def test_predictions_are_those_of_the_checkpoint(make, whole):
    hidden, lengths, _, _ = batch()
    expected = greedy(whole.joint, whole.decoder, whole.encoder_projector(hidden), lengths, blank=OWN_BLANK)
    assert len({tuple(row) for row in expected}) > 1
    head = make(*own_units(*PIECES))
    assert head.predict(hidden, lengths) == [[unit + 1 for unit in row] for row in expected]


def test_frames_behind_an_utterance_do_not_matter(make):
    hidden, lengths, targets, counts = batch()
    head, spoilt = make(*own_units(*PIECES)), hidden.clone()
    for row, length in enumerate(lengths):
        spoilt[row, length:] = 1e3
    targets = (targets + 1).where(torch.arange(4) < counts[:, None], 0)
    assert head.predict(spoilt, lengths) == head.predict(hidden, lengths)
    assert torch.equal(head.loss(spoilt, lengths, targets, counts), head.loss(hidden, lengths, targets, counts))


def test_the_head_overfits_two_utterances_and_the_checkpoint_is_unchanged(make, whole):
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    rng = torch.Generator().manual_seed(1)
    hidden, lengths = torch.randn(2, 8, models.HIDDEN, generator=rng), torch.tensor([8, 6])
    targets, counts = torch.tensor([[1, 2, 3], [2, 2, 0]]), torch.tensor([3, 2])
    head = make("a", "b", "ä")
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    losses = []
    for _ in range(100):
        loss = head.loss(hidden, lengths, targets, counts)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[10] < losses[0] / 2
    assert head.predict(hidden, lengths) == [[1, 2, 3], [2, 2]]
    assert all(torch.equal(value, before[name]) for name, value in whole.state_dict().items())
    fresh = make("a", "b", "ä")
    assert fresh.loss(hidden, lengths, targets, counts).item() == losses[0]  # every trial starts from the checkpoint


def test_models_without_a_transducer_are_refused(tmp_path, directory, make, whole):
    other = models.save(tmp_path / "w2v", *models.build("wav2vec2-group"))
    with pytest.raises(
        ModelError,
        match=f"^{other}: a wav2vec2 has no transducer; name a checkpoint such as nvidia/parakeet-rnnt-0.6b, or take",
    ):
        transducer_heads(load_encoder(other), models.HIDDEN, answers("a"))
    with pytest.raises(ModelError, match=r"^logmel: a transducer is found in checkpoints of transformers only; take"):
        transducer_heads(load_encoder("logmel"), 80, answers("a"))
    with pytest.raises(ModelError, match=r"^the transducer reads frames of 32 numbers, not 31$"):
        TransducerHead(whole, {"a": 1}, ("a",), 31)


def test_a_checkpoint_without_a_tokenizer_is_refused(tmp_path):
    place = models.save(tmp_path, *models.build("parakeet-rnnt"))
    encoder = load_encoder(place)
    with pytest.raises(ModelError, match=f"^{place}: cannot read its tokenizer"):
        transducer_heads(encoder, models.HIDDEN, answers("a"))


def test_pieces_beyond_the_table_of_the_checkpoint_are_ignored(tmp_path):
    """Tokenizers may have more pieces than the trained model, such as special ones that were added."""
    save_tokenizer(tmp_path, (*PIECES, "<blank>", "<added>"))
    place = models.save(tmp_path, *models.build("parakeet-rnnt"))
    head = transducer_heads(load_encoder(place), models.HIDDEN, answers("a", "ä"))()
    own = load_transducer(str(place)).joint.head.weight
    assert torch.equal(head.joint.head.weight[:2], own[[OWN_BLANK, 1]])
