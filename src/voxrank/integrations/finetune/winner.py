"""The best model of a ranking, and how transformers must load it for tuning."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxrank.config import EncoderOptions
from voxrank.encoders.registry import HUB, split_spec
from voxrank.errors import ModelError, OptionError, listed

if TYPE_CHECKING:
    import torch

    from voxrank.results.ranking import Ranking

WHISPER = re.compile(r"(?:faster-)?whisper-((?:tiny|base|small|medium)(?:\.en)?|large(?:-v[123])?|large-v3-turbo)")
"""Folder names of Whisper checkpoints for CTranslate2."""

MASKED = ("hubert", "wav2vec2", "wavlm", "unispeech-sat", "wav2vec2-bert")
"""Kinds whose frames do not depend on masked padding, except through the front end of some."""

SCRIPTED = frozenset(
    (
        *("hubert", "wav2vec2", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio", "wav2vec2-conformer"),
        *("wav2vec2-bert", "whisper", "moonshine", "speech_to_text"),
        *("parakeet_encoder", "parakeet_rnnt", "parakeet_tdt", "lasr_encoder"),
        *("nemotron_asr_streaming", "nemotron_asr_streaming_encoder", "nemotron3_5_asr"),
    )
)
"""Kinds whose frames a script computes as the ranking did; other kinds differ in their input or in their time axis."""

UNTUNED: dict[str, Any] = {
    "layerdrop": 0.0,
    "encoder_layerdrop": 0.0,
    "apply_spec_augment": False,
    "add_adapter": False,
    "return_dict": True,
}
"""Settings for long training, modules of a head, and unnamed outputs, with the values that turn them off."""

COUNTERS = ("_get_feat_extract_output_lengths", "_get_subsampling_output_length")
"""Methods of transformers' models that return the number of frames for a number of input steps."""


@dataclass(frozen=True)
class Winner:
    """A model to tune.

    Attributes:
        spec: spec in the ranking.
        model: hub id or directory.
        layer: the best single layer.
        kind: "whisper"; "masked", where padding does not affect the frames; "by_row", where only the front end, which
            normalises over time, is affected by padding; or "alone", where each utterance must be encoded separately.
        settings: changed settings of the configuration.
        blocks: path of the blocks in the encoder, such as "encoder.layers".
        input: name of the model's input, such as "input_values".
        counter: method that counts frames; None if there is one frame for each input step.
        longest_s: maximum duration of the audio in one pass; None: no limit.
        decoder: whether the model also has a decoder, so that its encoder is tuned alone.
        trusted: whether its own code may run.
    """

    spec: str
    model: str
    layer: int
    kind: str
    settings: dict[str, Any]
    blocks: str
    input: str
    counter: str | None
    longest_s: float | None = None
    decoder: bool = True
    trusted: bool = False


def counterpart(spec: str) -> str | None:
    """Return the model that transformers loads for a spec: the same, the Whisper of another format, or None.

    Example:
        >>> counterpart("pack:whisper-base"), counterpart("ct2:models/faster-whisper-small.en"), counterpart("logmel")
        ('openai/whisper-base', 'openai/whisper-small.en', None)
    """
    scheme, name = split_spec(spec)
    if scheme == HUB:
        return spec
    parts = [name] if scheme == "pack" else name.replace("\\", "/").replace("--", "/").split("/")
    sizes = [match[1] for part in parts if (match := WHISPER.fullmatch(part))] if scheme in ("pack", "ct2") else []
    return f"openai/whisper-{sizes[-1]}" if sizes else None


def check_tunable(specs: Sequence[str]) -> None:
    """Refuse a list of models of which transformers can tune none, before the run starts.

    Raises:
        OptionError: transformers can tune none of the models.
    """
    if not any(counterpart(spec) and _may_be_scripted(spec) for spec in specs):
        raise OptionError(
            f"expected a model that transformers can tune, such as a hub id or a directory, got {listed(specs)}; "
            "name one, or leave --then out"
        )


def _may_be_scripted(spec: str) -> bool:
    """Return whether there may be a script for a model: by the kind in a directory's configuration, True for others."""
    try:
        content = json.loads((Path(spec).expanduser() / "config.json").read_text(encoding="utf-8"))
        return "auto_map" in content or content.get("model_type") in SCRIPTED
    except (OSError, ValueError, AttributeError, TypeError, RecursionError, RuntimeError):
        return True


def find_winner(ranking: Ranking, trust: Sequence[str] = ()) -> Winner:
    """Return the best model of a ranking, at its best single layer.

    Args:
        ranking: the ranking; its options may come from someone else, and therefore trust no model.
        trust: names of the models whose own code may run.

    Raises:
        OptionError: a script cannot tune this kind of model, or none of its single layers was ranked.
        ModelError: the model does not exist or cannot be read.
    """
    spec = ranking.best.model
    model = counterpart(spec)
    if model is None:
        others = [m.model for m in ranking.models if counterpart(m.model)]
        best = f"the best model that it can tune is {others[0]}: rank without {spec} for its script" if others else ""
        instead = best or "for a script, rank a hub id or a directory"
        raise OptionError(f"{spec} came first, and transformers cannot tune a model of its kind; {instead}")
    layer = next((x.layer for x in ranking.layers if x.model == spec and not isinstance(x.layer, str)), None)
    if layer is None:
        raise OptionError(
            f"{spec} came first with several layers together, and a script tunes a single one; add single layers to "
            "--layers, such as all,mean"
        )
    if model != spec:
        return _whisper(spec, model, int(layer))
    return _inspect(spec, int(layer), tuple(trust))


def _whisper(spec: str, model: str, layer: int, config: Any = None, stored: Mapping[str, Any] | None = None) -> Winner:
    positions = 1500 if config is None else config.max_source_positions
    settings = _changed(config, stored or {})
    return Winner(spec, model, layer, "whisper", settings, "layers", "input_features", None, positions / 50)


def _changed(config: Any, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings to change, because the checkpoint's config.json or the default of its kind differs."""
    return {name: off for name, off in UNTUNED.items() if stored.get(name, getattr(config, name, off)) != off}


def _inspect(spec: str, layer: int, trusted: tuple[str, ...]) -> Winner:
    """Return the winner from its configuration, without reading weights."""
    from voxrank.encoders.architectures import build_shell
    from voxrank.encoders.checkpoints import find_checkpoint, load_config, read_settings

    checkpoint = find_checkpoint(spec, EncoderOptions(trust_remote_code=trusted))
    config = load_config(checkpoint)
    stored = read_settings(checkpoint)
    if config.model_type == "whisper":
        return _whisper(spec, spec, layer, config, stored)
    has_custom_code = checkpoint.trusted and bool(getattr(config, "auto_map", None))
    if config.model_type not in SCRIPTED and not has_custom_code:
        raise OptionError(f"{spec} came first, and there is no script for a {config.model_type}; see voxrank validate")
    shell, _ = build_shell(checkpoint, config)
    decoder = bool(getattr(config, "is_encoder_decoder", False))
    return Winner(
        spec,
        spec,
        layer,
        _kind(config),
        _changed(config, stored),
        _blocks(spec, shell),
        shell.main_input_name,
        next((name for name in COUNTERS if hasattr(shell, name)), None),
        decoder=decoder,
        trusted=checkpoint.trusted,
    )


def _kind(config: Any) -> str:
    if config.model_type not in MASKED:
        return "alone"
    return "by_row" if getattr(config, "feat_extract_norm", "") == "group" else "masked"


def _blocks(spec: str, shell: torch.nn.Module) -> str:
    """Return the path of the blocks: the module list with the most weights, without lists of parametrizations."""
    import torch
    from torch.nn.utils.parametrize import ParametrizationList

    from voxrank.encoders.base import count_parameters

    lists: dict[str, torch.nn.Module] = {
        name: part
        for name, part in shell.named_modules()
        if isinstance(part, torch.nn.ModuleList) and not isinstance(part, ParametrizationList)
    }
    if not lists:
        raise ModelError(f"{spec} has no list of blocks that could be frozen; see voxrank validate")
    return max(lists, key=lambda name: count_parameters(lists[name]))
