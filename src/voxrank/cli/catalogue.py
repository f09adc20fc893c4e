"""The list of the catalogue that `voxrank models --catalogue` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from voxrank.cli.common import give_json, out
from voxrank.config import MODELS, Flag, check_fields, option
from voxrank.errors import OptionError

if TYPE_CHECKING:
    from voxrank.encoders.catalogue import CatalogueModel

UNITS = {"K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9}
"""Suffix of a number → its factor."""
GAP = (0, 1, 0, 0)
"""Padding of the cells of the table, which has to fit 80 columns."""


@dataclass(frozen=True, kw_only=True)
class CatalogueRequest:
    """A request to list the catalogue.

    Attributes:
        catalogue: whether to list the catalogue; every other field that is set implies it.
        language: code of ISO 639 among the languages of the training.
        max_parameters: largest size of the encoder, such as "100M".
        licence: identifier of a licence, or "open".
        family: `model_type` in transformers.
        sort: name of the order.
    """

    catalogue: bool = option(
        False,  # noqa: FBT003, the default of the field
        Flag("--catalogue", "List the public models of the catalogue; nothing is downloaded.", MODELS),
    )
    language: str | None = option(
        None,
        Flag(
            "--language",
            "Only models trained on this language, such as de.",
            MODELS,
            "CODE",
            complete="speech",
        ),
    )
    max_parameters: str | None = option(
        None, Flag("--max-parameters", "Largest encoder, in weights, such as 100M.", MODELS, "SIZE")
    )
    licence: str | None = option(
        None,
        Flag(
            "--licence",
            "Only this licence; open for all that allow commercial use.",
            MODELS,
            "NAME",
            complete="licence",
        ),
    )
    family: str | None = option(
        None, Flag("--family", "Only this family, such as hubert.", MODELS, "NAME", complete="family")
    )
    sort: str | None = option(
        None,
        Flag(
            "--sort",
            "Order: id, family, parameters, layers, width, rate, hours, released, licence, maeb or superb.",
            MODELS,
            "NAME",
            shown="as in the catalogue",
            complete="order",
        ),
    )

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def wanted(self) -> bool:
        """True if any option of the catalogue was given."""
        return self != CatalogueRequest()


def show_catalogue(request: CatalogueRequest, *, json_out: str | None) -> None:
    """Print the models that meet the conditions, as a table or as JSON.

    Raises:
        OptionError: no model has the language, licence or family, or the size or the order is not known.
    """
    from voxrank.encoders.catalogue import read_catalogue, select_models
    from voxrank.encoders.published import sort_by_facts

    limit = None if request.max_parameters is None else parse_size(request.max_parameters)
    chosen = select_models(
        read_catalogue(),
        language=request.language,
        max_parameters=limit,
        licence=request.licence,
        family=request.family,
    )
    show_models(chosen if request.sort is None else sort_by_facts(chosen, request.sort), json_out=json_out)


def show_models(models: Sequence[CatalogueModel], *, json_out: str | None) -> None:
    """Print models of the catalogue, as a table or as JSON."""
    if give_json(json_out, _facts(models)):
        return
    out().print(_table([model for model in models if not model.reason]))
    out().print(Text(_legend(models)))


def parse_size(text: str) -> float:
    """Return a number of weights from text such as "100M" or "1.5B".

    Raises:
        OptionError: it is not such a number.

    Example:
        >>> parse_size("100M"), parse_size("1.5b"), parse_size("95000000")
        (100000000.0, 1500000000.0, 95000000.0)
    """
    plain_text = text.strip().upper()
    factor = UNITS.get(plain_text[-1:], 1.0)
    try:
        number = float(plain_text[:-1] if plain_text[-1:] in UNITS else plain_text) * factor
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise OptionError(f"expected --max-parameters to be a size such as 100M or 1.5B, got {text!r}")
    return number


def short_count(number: float | None) -> str:
    """Format a large number in four characters or fewer, for a narrow table.

    Example:
        >>> short_count(94_371_712), short_count(2_159_259_648), short_count(960), short_count(1e7), short_count(None)
        ('94M', '2.2B', '960', '10M', '-')
    """
    if number is None:
        return "-"
    for factor, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * factor:
            scaled = number / factor
            return f"{scaled:.1f}".removesuffix(".0") + unit if scaled < 9.95 else f"{scaled:.0f}{unit}"
    return f"{number:.0f}"


def _table(models: Sequence[CatalogueModel]) -> Table:
    from voxrank.encoders.catalogue import MANY_LANGUAGES
    from voxrank.encoders.published import published_ranks

    table = Table(box=None, pad_edge=False, padding=GAP, header_style="bold")
    table.add_column("model", style="cyan", overflow="fold")
    for heading in ("size", "layers", "hours", "lang."):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    for heading in ("MAEB", "SUPERB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for model in models:
        places = {rank.source: str(rank.place) for rank in published_ranks(model.id)}
        languages = "many" if MANY_LANGUAGES in model.languages else str(len(model.languages) or "-")
        table.add_row(
            model.id,
            short_count(model.size),
            str(model.layers or "-"),
            short_count(model.hours),
            languages,
            _licence(model),
            places.get("maeb", "-"),
            places.get("superb", "-"),
        )
    return table


def _licence(model: CatalogueModel) -> str:
    """Return what a licence allows, in a word that fits the table."""
    from voxrank.encoders.catalogue import OPEN, OPEN_LICENCES

    return "-" if model.licence is None else OPEN if model.licence in OPEN_LICENCES else "limited"


def _legend(models: Sequence[CatalogueModel]) -> str:
    """Return what the columns mean, and which models of the list cannot be loaded."""
    from voxrank.encoders.published import number_of_models

    others = [model.id for model in models if model.reason]
    counts = f"{number_of_models('maeb')} and {number_of_models('superb')}"
    legend = (
        f"{len(models) - len(others)} models. size: weights of the encoder; hours: of pre-training; licence: whether "
        f"commercial use is allowed; MAEB, SUPERB: place among {counts} models by published results. "
        "All facts: --json"
    )
    if not others:
        return legend
    return f"{legend}\n{len(others)} more cannot be loaded (--json says why): {', '.join(others)}"


def _facts(models: Sequence[CatalogueModel]) -> dict[str, Any]:
    """Return the models with every fact, the sources of the figures, and the groups."""
    from voxrank.encoders.catalogue import load_catalogue
    from voxrank.encoders.groups import GROUPS, group_models
    from voxrank.encoders.published import published_ranks

    return {
        "models": [asdict(model) | {"ranks": [asdict(rank) for rank in published_ranks(model.id)]} for model in models],
        "sources": dict(load_catalogue().sources),
        "groups": {name: list(group_models(name)) for name in GROUPS},
    }
