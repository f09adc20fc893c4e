"""Plug-ins are found by name, imported on demand, and affect nothing else when they are broken."""

import sys
from itertools import count

import pytest

from voxrank._support.plugins import KINDS, PluginError, find_plugin, plugin_names, plugins
from voxrank.cache.keys import model_key
from voxrank.config import EncoderOptions
from voxrank.data.read import named_format, read_dataset
from voxrank.encoders.registry import load_encoder, schemes, split_spec
from voxrank.errors import DataError, ModelError, OptionError, RunError
from voxrank.scores import get_score, score_names
from voxrank.scores.registry import known_scores
from voxrank.testing.encoders import FakeEncoder
from voxrank.testing.plugins import announce, announced

ENCODER = """
from voxrank.testing.encoders import FakeEncoder
def load(rest, options):
    return FakeEncoder(dim=int(rest or 8))
"""
SCORE = """
from voxrank.scores import of_moments, Reading
SCORE = of_moments("{name}", "Mine", lambda spectrum: Reading(float(spectrum.n)))
"""
number = count()


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Return a function that adds a package with a plug-in (kind, name, code, object) and returns its module's name."""

    def add(kind, name, code, what, *, package="some-plugin", version="1.2"):
        module = f"plugged_{next(number)}"
        place = tmp_path / f"{package}-{module}"
        place.mkdir()
        (place / f"{module}.py").write_text(code)
        announce(place, package, version, {f"voxrank.{kind}": {name: f"{module}:{what}"}})
        monkeypatch.syspath_prepend(place)
        return module

    return add


def test_no_plugin_is_found_where_none_is_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert all(plugins(kind) == () for kind in KINDS)
    assert find_plugin("encoders", "mine") is None


def test_an_encoder_is_imported_only_when_it_is_loaded(plugin):
    module = plugin("encoders", "mine", ENCODER, "load")
    assert "mine" in schemes()
    assert split_spec("mine:5") == ("mine", "5")
    assert split_spec("mine") == ("mine", "")
    assert module not in sys.modules
    encoder = load_encoder("mine:5")
    assert module in sys.modules
    assert (encoder.spec, encoder.layers[0].dim, encoder.origin) == ("mine:5", 5, "some-plugin 1.2")
    assert load_encoder("logmel").origin == ""


def test_a_score_is_imported_only_when_it_is_used(plugin):
    module = plugin("scores", "mine", SCORE.format(name="mine"), "SCORE")
    assert "mine" in known_scores()
    assert "mine" not in score_names()
    assert module not in sys.modules
    assert get_score("mine").title == "Mine"


def test_misspelt_names_are_compared_with_those_of_plugins(plugin):
    plugin("encoders", "mine", ENCODER, "load")
    plugin("scores", "fishy", SCORE.format(name="fishy"), "SCORE", package="other-plugin")
    with pytest.raises(ModelError, match=r"unknown model scheme 'mien' in 'mien:3'; did you mean mine\?"):
        load_encoder("mien:3")
    with pytest.raises(OptionError, match=r"unknown score 'fihsy'; did you mean fishy\?"):
        get_score("fihsy")


def test_a_plugin_that_fails_to_import_is_named_and_others_still_work(plugin):
    plugin("encoders", "broken", "import no_such_package", "load")
    plugin("scores", "fault", "1 / 0", "SCORE", package="other-plugin")
    with pytest.raises(
        PluginError,
        match=r"the plug-in 'broken' of some-plugin 1\.2 \(plugged_\d+:load\) cannot be imported "
        r"\(ModuleNotFoundError: No module named 'no_such_package'\); mend or uninstall some-plugin",
    ):
        load_encoder("broken:x")
    with pytest.raises(PluginError, match=r"'fault' of other-plugin 1\.2 .* \(ZeroDivisionError: division by zero\)"):
        get_score("fault")
    assert load_encoder("logmel").layers
    assert get_score("logme").title == "LogME"
    assert "broken" in schemes()
    with pytest.raises(OptionError, match=r"did you mean knn\?"):
        get_score("knnn")


def test_a_missing_object_of_a_plugin_is_refused(plugin):
    plugin("encoders", "mine", ENCODER, "laod")
    with pytest.raises(PluginError, match=r"cannot be imported .*AttributeError"):
        load_encoder("mine")


@pytest.mark.parametrize(
    ("kind", "code", "what", "message"),
    [
        ("encoders", "load = 3", "load", r"expected plugged_\d+:load to be a function of \(rest, options\), got int"),
        ("encoders", "def load(rest, options): return 3", "load", "a function that returns a .*Encoder, got int"),
        ("scores", "SCORE = 'logme'", "SCORE", r"to be a voxrank\.scores\.Score, got str"),
        ("scores", SCORE.format(name="yours"), "SCORE", "is a score named 'yours'; give both one name"),
    ],
)
def test_an_object_of_the_wrong_kind_is_refused(plugin, kind, code, what, message):
    plugin(kind, "mine", code, what)
    with pytest.raises(PluginError, match=message):
        (load_encoder if kind == "encoders" else get_score)("mine")


def test_an_error_of_a_loader_is_reported_in_one_line(plugin):
    plugin("encoders", "mine", "def load(rest, options):\n    raise KeyError(rest)", "load")
    with pytest.raises(ModelError, match=r"some-plugin 1\.2 cannot load mine:big \(KeyError: 'big'\)"):
        load_encoder("mine:big")


def test_a_loader_that_runs_out_of_memory_ends_the_run_with_that_reason(plugin):
    plugin("encoders", "mine", "def load(rest, options):\n    raise MemoryError", "load")
    with pytest.raises(RunError, match="mine: memory ran out while the model was loaded"):
        load_encoder("mine")


def test_a_name_that_two_packages_claim_is_refused(plugin):
    plugin("encoders", "mine", ENCODER, "load", package="one")
    plugin("encoders", "mine", ENCODER, "load", package="two")
    assert plugin_names("encoders").count("mine") == 1
    with pytest.raises(
        PluginError, match=r"the name 'mine' is claimed by 2 plug-ins: one 1\.2, two 1\.2; uninstall all but one"
    ):
        load_encoder("mine:4")
    assert load_encoder("logmel").layers


def test_voxrank_keeps_its_own_names(plugin):
    module = plugin("encoders", "logmel", ENCODER, "load")
    other = plugin("scores", "logme", SCORE.format(name="logme"), "SCORE", package="other-plugin")
    assert load_encoder("logmel").layers[0].name == "log-mel"
    assert get_score("logme").title == "LogME"
    assert not {module, other} & set(sys.modules)


def test_a_project_is_announced_only_within_its_block(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "for-a-while"\nversion = "3"\n[project.entry-points."voxrank.scores"]\nMixed = "a.b:C"\n'
    )
    with announced(tmp_path):
        assert [(p.name, p.origin) for p in plugins("scores") if p.package == "for-a-while"] == [
            ("Mixed", "for-a-while 3")
        ]
    assert "Mixed" not in plugin_names("scores")
    with pytest.raises(OptionError, match=r"expected a pyproject\.toml with a name and a version in"), announced("/"):
        pass


READER = """
from voxrank.data.formats import Format
def read(source, request):
    {body}
FORMAT = Format("mine", lambda source: {matches}, read)
"""


def test_a_broken_reader_is_named_where_no_reader_knows_the_data(plugin, tones, tmp_path):
    plugin("readers", "broken", "import no_such_package", "FORMAT")
    plugin("readers", "hasty", READER.format(body="return 3", matches="1 / 0"), "FORMAT", package="other-plugin")
    assert read_dataset(tones).task == "classification"
    unknown = tmp_path / "data.xyz"
    unknown.write_text("x")
    for source in (unknown, tmp_path / "nowhere.xyz"):
        with pytest.raises(
            DataError, match=r"'broken' of some-plugin 1\.2 .*; the plug-in 'hasty' of other-plugin 1\.2 "
        ):
            read_dataset(source)
    with pytest.raises(PluginError, match="the plug-in 'broken' of some-plugin"):
        read_dataset(f"broken:{unknown}")


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("return 3", PluginError, "to be a reader that returns a Dataset, got int"),
        ("raise KeyError(source)", DataError, r"some-plugin 1\.2 cannot read .*data\.xyz \(KeyError"),
        ("open('/no/such/file')", DataError, "cannot read mine:.*No such file"),
    ],
)
def test_an_error_of_a_reader_is_reported_in_one_line(plugin, tmp_path, body, kind, message):
    plugin("readers", "mine", READER.format(body=body, matches="True"), "FORMAT")
    with pytest.raises(kind, match=message):
        read_dataset(f"mine:{tmp_path / 'data.xyz'}")


def test_a_reader_named_as_the_scheme_of_the_hub_does_not_take_its_ids(plugin):
    module = plugin("readers", "hf", READER.format(body="raise KeyError(source)", matches="True"), "FORMAT")
    assert named_format("hf://owner/name") is None
    assert module not in sys.modules
    form, rest = named_format("hf:x")
    assert (form.name, rest) == ("mine", "x")


def test_a_reader_that_is_not_a_format_is_refused(plugin):
    plugin("readers", "mine", "FORMAT = len", "FORMAT")
    with pytest.raises(PluginError, match=r"to be a voxrank\.data\.formats\.Format, got builtin_function_or_method"):
        read_dataset("mine:x")


OPTIONS = EncoderOptions(device="cpu")


class Mute(FakeEncoder):
    """An encoder without a package, and without settings unless they are given."""

    parameters = 0

    def __init__(self, *, setting=None, **options):
        super().__init__(**options)
        self.parameters, self._setting = 0, setting

    def weights(self):
        return {}

    def settings(self):
        return {} if self._setting is None else {"setting": self._setting}


def test_an_encoder_without_weights_or_settings_has_no_key_in_the_cache():
    assert model_key(Mute(seed=1), OPTIONS) is None
    assert model_key(load_encoder("logmel", OPTIONS), OPTIONS) is not None  # an encoder of voxrank


def test_the_key_of_an_encoder_depends_on_its_settings_version_and_code(monkeypatch):
    def key(*, origin="a 1", setting="x"):
        encoder = Mute(setting=setting)
        encoder.origin = origin
        return model_key(encoder, OPTIONS)

    assert key() == key() is not None
    assert len({key(), key(origin="a 2"), key(setting="y")}) == 3
    before = key()
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda path: b"changed")
    assert key() != before
