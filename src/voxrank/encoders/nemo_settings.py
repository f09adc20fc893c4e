"""The reader of a section of NeMo's YAML configuration: every value is checked before it is used."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from voxrank.errors import ModelError, listed, shortened

CLASS_KEYS = ("_target_", "cls")
"""Keys under which NeMo stores the class of a section; old checkpoints have the second."""


class Section:
    """A section of a configuration, such as "encoder".

    Args:
        name: name of the section, for messages.
        values: its settings.
    """

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        self.name, self._values = name, values

    @classmethod
    def of(cls, config: Mapping[str, Any], name: str) -> Section:
        """Return a section of a model's configuration.

        Raises:
            ModelError: there is no such section.
        """
        values = config.get(name)
        if not isinstance(values, dict):
            kind = _last_name(config.get("target"))
            what = f"a {kind}" if kind else "a model"
            raise ModelError(f"it holds {what} without a section {name!r} in model_config.yaml; name a speech encoder")
        return cls(name, values)

    @property
    def kind(self) -> str:
        """The name of the class of the section, without its module; "" if there is none."""
        return next((_last_name(self._values[key]) for key in CLASS_KEYS if key in self._values), "")

    def expect_class(self, known: Iterable[str], advice: str) -> None:
        """Refuse a section of another class.

        Raises:
            ModelError: the class is not in `known`; the message ends in `advice`.
        """
        if self.kind not in known:
            raise ModelError(
                f"its {self.name} is of the class {self.kind or 'unknown'}, expected {listed(known)}; {advice}"
            )

    def get(self, key: str, default: Any = None) -> Any:
        """Return a setting of any type."""
        return self._values.get(key, default)

    def whole(self, key: str, default: int | None, least: int, most: int) -> int:
        """Return a whole number; null stands for the default.

        Raises:
            ModelError: the value is no whole number in the range, or is missing without a default.
        """
        value = self._values.get(key)
        value = default if value is None else value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self._invalid(key, value, f"a whole number from {least:,} to {most:,}")
        return value

    def number(self, key: str, default: float) -> float:
        """Return a number; text such as 1e-5, which YAML does not take for a number, counts as one.

        Raises:
            ModelError: the value is no finite number.
        """
        value = self._values.get(key)
        value = default if value is None else value
        try:
            number = float(value) if isinstance(value, str | int | float) else math.nan
        except (ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise self._invalid(key, value, "a number")
        return number

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a setting that is true or false; null stands for the default.

        Raises:
            ModelError: the value is neither.
        """
        value = self._values.get(key)
        value = default if value is None else value
        if not isinstance(value, bool):
            raise self._invalid(key, value, "true or false")
        return value

    def choice(self, key: str, default: str, known: Iterable[str], advice: str = "get the model again") -> str:
        """Return one of several names; null stands for the default.

        Raises:
            ModelError: the value is none of them; the message ends in `advice`.
        """
        value = self._values.get(key)
        value = default if value is None else value
        if not isinstance(value, str) or value not in known:
            raise self._invalid(key, value, listed(known), advice)
        return value

    def _invalid(self, key: str, value: Any, expected: str, advice: str = "get the model again") -> ModelError:
        """Return the error for a value; only the type of a collection is shown, which may be very large."""
        plain = value is None or isinstance(value, str | int | float)
        shown = shortened(repr(value), 60) if plain and _is_short(value) else f"a value of type {type(value).__name__}"
        return ModelError(f"model_config.yaml says {self.name}.{key} = {shown}, expected {expected}; {advice}")


def _is_short(value: Any) -> bool:
    return not isinstance(value, int) or value.bit_length() < 1_000  # Python refuses to print longer numbers


def _last_name(value: Any) -> str:
    return shortened(value.rpartition(".")[2], 60) if isinstance(value, str) else ""
