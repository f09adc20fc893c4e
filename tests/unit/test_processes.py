"""A forked process of the tests behaves like one that was started."""

import os
import signal
import subprocess
import sys

import pytest

SCRIPT = "import sys; print('out'); print('err', file=sys.stderr); print(*sys.argv); sys.exit(3)"


@pytest.mark.parametrize("how", ["-c", "script", "-m"])
def test_code_scripts_and_modules_run_as_python_runs_them(run_python, tmp_path, how):
    (tmp_path / "script.py").write_text(SCRIPT)
    arguments = {"-c": ("-c", SCRIPT), "script": (tmp_path / "script.py",), "-m": ("-m", "script")}[how]
    real = subprocess.run([sys.executable, *arguments, "a"], cwd=tmp_path, capture_output=True, text=True, check=False)
    found = run_python(*arguments, "a", cwd=tmp_path)
    assert (found.returncode, found.stdout, found.stderr) == (3, real.stdout, "err\n")


def test_folder_and_environment_are_those_that_are_given(run_python, tmp_path):
    code = "import os; print(os.getcwd(), os.environ['ASKED'], 'HOME' in os.environ)"
    found = run_python("-c", code, cwd=tmp_path, env={"ASKED": "yes"}, check=True)
    assert found.stdout.split() == [str(tmp_path), "yes", "False"]


def test_signals_and_streams_reach_the_process(start_python):
    code = "import sys, time; print(sys.stdin.readline(), end='', flush=True); time.sleep(600)"
    process = start_python("-c", code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write("heard\n")
    process.stdin.flush()
    assert process.stdout.readline() == "heard\n"
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1].splitlines()[-1] == "KeyboardInterrupt"
    killed = start_python("-c", "import time; time.sleep(600)")
    killed.kill()
    assert killed.wait() == -signal.SIGKILL


def test_an_error_is_printed_and_the_exit_code_is_1(run_python):
    found = run_python("-c", "1 / 0")
    assert found.returncode == 1
    assert found.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_bytes_are_passed_unchanged(run_python):
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    assert run_python("-c", "print('é')", env=environment, text=False).stdout == b"\xe9\n"
