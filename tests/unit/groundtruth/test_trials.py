"""Rows of trials are found again by everything on which a trial depends, and never lost once reported."""

import dataclasses
import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest

import voxrank.groundtruth.trials
from voxrank.errors import OptionError
from voxrank.groundtruth.trials import Row, Trial, TrialStore

TRIAL = Trial("openai/whisper-tiny", 3, 0, "main", {"data": "abc", "tuning": {"epochs": 3, "head": "linear"}})
ROW = Row(
    TRIAL,
    "done",
    0.1 + 0.2,
    {"cer": 0.1 + 0.2, "wer": 1 / 3},
    {"losses": [3.5, 1e-17], "validation": [{"cer": 1.0}], "epochs": 2},
    12.25,
)


def changed(**changes):
    return dataclasses.replace(TRIAL, **changes)


def test_a_key_depends_on_every_field(monkeypatch):
    others = [
        changed(model="openai/whisper-base"),
        changed(layer=4),
        changed(seed=1),
        changed(part="rival"),
        changed(setting={**TRIAL.setting, "data": "abd"}),
        changed(setting={**TRIAL.setting, "tuning": {"epochs": 4, "head": "linear"}}),
        changed(setting={**TRIAL.setting, "tuning": {"epochs": "3", "head": "linear"}}),
        changed(setting={**TRIAL.setting, "dtype": None}),
        changed(setting={}),
        changed(layer=0, seed=3),  # the same numbers in other fields
    ]
    keys = [trial.key for trial in (TRIAL, *others)]
    assert len(set(keys)) == len(keys)
    monkeypatch.setattr(voxrank.groundtruth.trials, "VERSION", 0)
    assert TRIAL.key not in keys


def test_a_key_does_not_depend_on_the_order_of_settings():
    turned = {"tuning": {"head": "linear", "epochs": 3}, "data": "abc"}
    assert list(turned) != list(TRIAL.setting)
    assert changed(setting=turned).key == TRIAL.key == changed().key


def test_a_key_is_the_same_in_every_process():
    code = "from voxrank.groundtruth.trials import Trial; print(Trial('m', 1, 2, 'main', {'b': 1.5, 'a': 'ä'}).key)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == Trial("m", 1, 2, "main", {"a": "ä", "b": 1.5}).key


def test_a_stored_row_is_read_back_exactly(tmp_path):
    path = tmp_path / "new" / "folder" / "trials.sqlite"
    store = TrialStore(path)
    assert (len(store), store.get(TRIAL)) == (0, None)
    store.put(ROW)
    failed = Row(changed(seed=1), "failed", None, {}, {}, 0.5, 'the loss became nan; ‘quoted’ "twice"')
    store.put(failed)
    for reader in (store, TrialStore(path)):
        assert len(reader) == 2
        assert reader.get(changed()) == ROW
        assert reader.get(changed(seed=1)) == failed
        assert reader.get(changed(seed=2)) is None


def test_a_row_replaces_an_earlier_row_of_the_same_trial(tmp_path):
    store = TrialStore(tmp_path / "trials.sqlite")
    store.put(Row(TRIAL, "failed", None, {}, {}, 0.5, "why"))
    store.put(ROW)
    assert len(store) == 1
    assert store.get(TRIAL) == ROW


def test_a_metric_without_bound_is_kept(tmp_path):
    store = TrialStore(tmp_path / "trials.sqlite")
    store.put(dataclasses.replace(ROW, metric=math.inf, metrics={"cer": math.inf}))
    assert store.get(TRIAL).metric == math.inf
    assert store.get(TRIAL).metrics == {"cer": math.inf}


WRITER = """
import sys
from voxrank.groundtruth.trials import Row, Trial, TrialStore

path, name, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
store = TrialStore(path)
for number in range(most):
    trial = Trial(name, number, 0, "main", {"filler": "x" * 5000})
    store.put(Row(trial, "done", number / 7, {"accuracy": number / 7}, {"losses": [0.5] * 100}, 1.0))
    print(number, flush=True)
"""


def writer(path, name, most):
    """Start a process that writes rows on a signal, and prints those that are stored."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(most)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def begin(*processes):
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()


@pytest.mark.skipif(os.name != "posix", reason="kills as Unix does")
def test_a_process_that_is_killed_loses_no_row(tmp_path):
    path = tmp_path / "trials.sqlite"
    process = writer(path, "m", 100_000)
    begin(process)
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    printed = 5 + len(process.stdout.read().split())  # not `communicate`, which misses lines that are buffered already
    process.stdin.close()
    process.stdout.close()
    process.wait(60)
    assert process.returncode == -signal.SIGKILL
    store = TrialStore(path)
    assert len(store) in (printed, printed + 1)  # one may be stored and not yet printed
    rows = [store.get(Trial("m", number, 0, "main", {"filler": "x" * 5000})) for number in range(printed)]
    assert [row.metric for row in rows] == [number / 7 for number in range(printed)]
    store.put(ROW)
    assert store.get(TRIAL) == ROW
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_the_store_waits_while_another_process_creates_the_file(tmp_path):
    path = tmp_path / "trials.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.3, lambda: (other.execute("COMMIT"), other.close()))
    done.start()
    try:
        TrialStore(path).put(ROW)
    finally:
        done.join()
    assert TrialStore(path).get(TRIAL) == ROW


def test_several_processes_can_write_at_the_same_time(tmp_path):
    path = tmp_path / "trials.sqlite"
    TrialStore(path)
    processes = [writer(path, name, 12) for name in "abc"]
    begin(*processes)
    printed = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert printed == [[str(number) for number in range(12)]] * 3
    assert len(TrialStore(path)) == 36


def junk(folder):
    (folder / "trials.sqlite").write_text("these are no trials, but long enough to look like a file of pages " * 9)
    return folder / "trials.sqlite"


def below_a_file(folder):
    (folder / "file").write_text("")
    return folder / "file" / "trials.sqlite"


def a_folder(folder):
    (folder / "trials.sqlite").mkdir()
    return folder / "trials.sqlite"


def not_to_be_written(folder):
    if os.name != "posix" or os.geteuid() == 0:
        pytest.skip("whoever may do all is stopped by no mode")
    (folder / "locked").mkdir(mode=0o500)
    return folder / "locked" / "trials.sqlite"


@pytest.mark.parametrize("place", [junk, below_a_file, a_folder, not_to_be_written])
def test_places_where_no_trials_can_be_kept_are_refused(tmp_path, place):
    path = place(tmp_path)
    with pytest.raises(
        OptionError, match=r"expected a file of trials that can be written at .*; choose another folder$"
    ) as error:
        TrialStore(path)
    assert str(path) in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_file_that_is_refused_is_not_changed(tmp_path):
    path = junk(tmp_path)
    before = path.read_bytes()
    with pytest.raises(OptionError, match="file is not a database"):
        TrialStore(path)
    assert path.read_bytes() == before


def test_a_database_with_other_trials_is_refused(tmp_path):
    path = tmp_path / "trials.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE trials (key TEXT PRIMARY KEY, verdict TEXT)")
    connection.close()
    with pytest.raises(OptionError, match="expected a file of trials"):
        TrialStore(path)
