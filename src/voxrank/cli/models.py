"""The command `voxrank models`: list the kinds of model, the catalogue, or the layers of one model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Annotated

import typer
from rich.table import Table

from voxrank._support.plugins import KINDS as KINDS_OF_PLUGINS
from voxrank._support.plugins import Kind, Plugin, plugins
from voxrank.cli.catalogue import CatalogueRequest, show_catalogue, show_models
from voxrank.cli.common import JsonOption, give_json, out
from voxrank.cli.completion import complete_model
from voxrank.cli.extras import check_extras
from voxrank.cli.options import with_options
from voxrank.config import EncoderOptions, part
from voxrank.encoders.known import GROUP_MARK
from voxrank.errors import OptionError, shortened
from voxrank.report.terminal import plain

KINDS = (
    ("openai/whisper-tiny", "hub id: any audio encoder that transformers loads"),
    ("./my-model", "local directory in the same format"),
    ("@base", "group of models of the catalogue: @small, @base, @large, @multilingual, @conformer"),
    ("ct2:DIR", "CTranslate2 (faster-whisper) checkpoint"),
    ("fairseq:FILE, or FILE.pt", "fairseq checkpoint of wav2vec 2.0, HuBERT or data2vec"),
    ("nemo:FILE", "NVIDIA NeMo checkpoint (.nemo): Conformer or FastConformer"),
    ("onnx:FILE#PATTERN", "ONNX graph; PATTERN picks inner tensors as layers"),
    ("py:MODULE:FACTORY#PATTERN", "your own torch module; PATTERN picks submodules"),
    ("logmel, mfcc", "untrained baselines that a model should beat"),
)
EPILOG = """
Examples:

  voxrank models

  voxrank models pack:whisper-base

  voxrank models --catalogue --language de --max-parameters 100M

  voxrank models @base

  voxrank models ./my-hubert --json layers.json
"""


@dataclass(frozen=True)
class LoadRequest:
    """A request to load a model."""

    encoder: EncoderOptions = part(EncoderOptions, "device", "trust_remote_code")


@with_options()
def models(
    spec: Annotated[
        str | None,
        typer.Argument(metavar="SPEC", autocompletion=complete_model, help="Load this model and list its layers."),
    ] = None,
    *,
    request: LoadRequest,
    listing: CatalogueRequest,
    json_out: JsonOption = None,
) -> None:
    """List the kinds of model that can be ranked, the public models of the catalogue, or the layers of one model."""
    if spec is not None and listing.wanted:
        raise OptionError(f"expected a model or the options of the catalogue, got both; leave {shortened(spec)} out")
    if listing.wanted:
        show_catalogue(listing, json_out=json_out)
    elif spec is None:
        _show_kinds(json_out=json_out)
    elif spec.startswith(GROUP_MARK):
        _show_group(spec, json_out=json_out)
    else:
        _show_model(spec, request.encoder, json_out=json_out)


def _show_kinds(*, json_out: str | None) -> None:
    from voxrank_pack import PACK, installed

    available = installed()
    pack = [{"spec": f"pack:{name}", "installed": name in available} for name in PACK]
    others = {kind: _plugins_of_others(kind) for kind in KINDS_OF_PLUGINS}
    plugin_facts = {kind: [_facts(plugin) for plugin in of_kind] for kind, of_kind in others.items()}
    if give_json(json_out, {"kinds": dict(KINDS), "pack": pack, "plugins": plugin_facts}):
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("spec", style="cyan", no_wrap=True)
    table.add_column("what it is")
    for form, description in KINDS:
        table.add_row(plain(form), description)
    for name in PACK:
        state = "offline pack, installed" if name in available else "offline pack; `voxrank demo --install` fetches it"
        table.add_row(f"pack:{name}", state)
    for plugin in others["encoders"]:
        table.add_row(plain(f"{plugin.name}:…", width=28), plain(f"plug-in of {plugin.origin}"))
    out().print(table)
    kind: Kind
    for kind in ("scores", "readers"):
        for plugin in others[kind]:
            description = f"{kind.removesuffix('s')} {plugin.name}: plug-in of {plugin.origin}"
            out().print(plain(description), soft_wrap=True)


def _plugins_of_others(kind: Kind) -> list[Plugin]:
    """Return the plug-ins of other packages; those of voxrank's own package, the offline pack, are listed by model."""
    return [plugin for plugin in plugins(kind) if plugin.package != "voxrank"]


def _facts(plugin: Plugin) -> dict[str, str]:
    key = "scheme" if plugin.kind == "encoders" else "name"
    return {key: plugin.name, "package": plugin.package, "version": plugin.version}


def _show_group(name: str, *, json_out: str | None) -> None:
    from voxrank.encoders.catalogue import find_model
    from voxrank.encoders.groups import group_models

    show_models([model for spec in group_models(name) if (model := find_model(spec))], json_out=json_out)


def _show_model(spec: str, options: EncoderOptions, *, json_out: str | None) -> None:
    check_extras(SimpleNamespace(models=(spec,)))
    from voxrank.encoders.registry import load_encoder

    encoder = load_encoder(spec, options)
    facts = {
        "model": spec,
        "parameters": encoder.parameters,
        "sample_rate": encoder.sample_rate,
        "mixed_lengths_share_a_batch": encoder.pads,
        "layers": [asdict(layer) for layer in encoder.layers],
    }
    if give_json(json_out, facts):
        return
    out().print(plain(spec).append(f": {encoder.parameters:,} parameters, {encoder.sample_rate:,} Hz"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("layer", "dim", "frames/s"):
        table.add_column(heading, justify="right")
    table.add_column("name")
    for layer in encoder.layers:
        table.add_row(str(layer.index), str(layer.dim), f"{layer.frame_rate:g}", plain(layer.name))
    out().print(table)
