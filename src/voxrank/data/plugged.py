"""Readers of other packages, used by name (``NAME:PATH``) or where no built-in reader recognises the data."""

from __future__ import annotations

from dataclasses import replace

from voxrank._support.plugins import Plugin, PluginError, find_plugin, plugin_names, plugins
from voxrank.data.formats import Format
from voxrank.data.hub import SCHEME
from voxrank.data.rows import Request
from voxrank.data.utterance import Dataset
from voxrank.errors import DataError, VoxrankError, reason


def named_format(source: str) -> tuple[Format, str] | None:
    """Return the format that a name begins with, and the rest of the name; None where it begins with no format.

    ``hf://`` always means the built-in reader, whatever the names of plug-ins.

    Raises:
        PluginError: the format belongs to a plug-in that cannot be used.
    """
    name, colon, rest = source.partition(":")
    if not colon or source.startswith(SCHEME) or name not in plugin_names("readers"):
        return None
    plugin = find_plugin("readers", name)
    return None if plugin is None else (_format(plugin), rest)


def plugged_format(source: str) -> tuple[Format | None, str]:
    """Return the plug-in format of data that no built-in reader recognises.

    Returns:
        The format, or None where there is none; and the reasons why plug-ins could not be tried, or empty text.
    """
    faults: list[str] = []
    for plugin in plugins("readers"):
        try:
            form = _format(plugin)
            if form.matches(source):
                return form, ""
        except PluginError as error:
            faults.append(str(error))
        except Exception as error:  # noqa: BLE001, other code may raise any type
            faults.append(f"the plug-in {plugin.name!r} of {plugin.origin} failed to inspect it ({reason(error)})")
    return None, "; ".join(faults)


def _format(plugin: Plugin) -> Format:
    form = plugin.load()
    if not isinstance(form, Format):
        raise plugin.refuse("a voxrank.data.formats.Format", form)

    def read(source: str, request: Request) -> Dataset:
        try:
            dataset = form.read(source, request)
        except (VoxrankError, OSError, UnicodeDecodeError, MemoryError):
            raise
        except Exception as error:
            raise DataError(f"{plugin.origin} cannot read {source} ({reason(error)})") from error
        if not isinstance(dataset, Dataset):
            raise plugin.refuse("a reader that returns a Dataset", dataset)
        return dataset

    return replace(form, read=read)
