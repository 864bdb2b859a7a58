"""Standard streams that are closed, full or of another encoding, signals, and Python's own switches.

Exit codes: 65 and more are the command's own (docs/reference/cli.md); 74 is EX_IOERR of sysexits.h; 128 + N is how a
shell shows signal N (POSIX.1-2024, Shell Command Language, 2.8.2).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.running import COMMAND, ROOT

COMMANDS = {
    "check": "check --host examples/tsa-no-always/host.toml --guest examples/tsa-no-always/guest.toml",
    "check --json": "check --host examples/tsa-no-always/host.toml --guest examples/tsa-no-always/guest.toml --json",
    "decode": "decode 0x2b",
    "decode --json": "decode 0x2b --json",
    "predict": "predict examples/predict/linux.ndjson",
    "explain": "explain mds_no",
    "help": "check --help",
    "version": "--version",
    "audit": "audit examples/fleet --format csv",
}


def shell(text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = text.replace("archcaps", f"'{COMMAND}'", 1)
    return subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("where", [">&-", ">/dev/full"])
def test_standard_output_that_takes_nothing_is_one_line(name: str, where: str) -> None:
    done = shell(f"archcaps {COMMANDS[name]} {where}")
    assert done.returncode == 74
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("archcaps: standard output: cannot be written: ")


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", "<&-", "2>&- <&-"])
def test_other_streams_change_neither_answer_nor_exit_code(where: str) -> None:
    whole = shell(f"archcaps {COMMANDS['check']}")
    done = shell(f"archcaps {COMMANDS['check']} {where}")
    assert (done.returncode, done.stdout) == (whole.returncode, whole.stdout)


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", ">&- 2>&- <&-"])
def test_an_error_that_nobody_hears_keeps_its_exit_code(where: str) -> None:
    assert shell(f"archcaps check --host /nowhere {where}").returncode == 65
    assert shell(f"archcaps check --nothing {where}").returncode == 64


def test_a_closed_standard_input_is_empty() -> None:
    done = shell("archcaps check --host - <&-")
    assert done.returncode == 65
    assert done.stderr.startswith("archcaps: standard input: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("environment", [
    {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "latin-1"},
])  # fmt: skip
def test_any_encoding_will_do(tmp_path: Path, environment: dict[str, str]) -> None:
    guest = json.loads(b'{"format_version": 1, "role": "guest", "name": "Gr\\u00fc\\u00dfe \\u6f22 \\ud83d\\ude00"}')
    path = tmp_path / "größe.json"
    path.write_text(json.dumps(guest, ensure_ascii=False), encoding="utf-8")
    text = shell(f"archcaps check --guest '{path}'", **environment)
    assert (text.returncode, text.stderr) == (3, "")
    assert "\\u6f22 \\ud83d\\ude00" in text.stdout
    answer = shell(f"archcaps check --json --guest '{path}'", **environment)
    assert json.loads(answer.stdout)["guest"] == guest["name"]
    missing = shell(f"archcaps check --guest '{path}x'", **environment)
    assert missing.returncode == 65
    assert len(missing.stderr.splitlines()) == 1


@pytest.mark.parametrize("level", ["1", "2"])
def test_an_optimised_python_gives_the_same_answers(level: str) -> None:
    for name in ("check --json", "decode --json", "predict", "version"):
        whole, done = (shell(f"archcaps {COMMANDS[name]}", **env) for env in ({}, {"PYTHONOPTIMIZE": level}))
        assert (done.returncode, done.stdout, done.stderr) == (whole.returncode, whole.stdout, ""), name
    done = shell("archcaps check --help", PYTHONOPTIMIZE=level)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == shell("archcaps check --help").stdout


@pytest.mark.parametrize(
    ("number", "code", "ignored"),
    [
        (signal.SIGTERM, 143, False), (signal.SIGHUP, 129, False), (signal.SIGINT, 130, False),
        (signal.SIGTERM, 143, True), (signal.SIGHUP, 129, True),
    ],
)  # fmt: skip
def test_a_signal_ends_a_command_with_its_things_put_away(
    tmp_path: Path, number: signal.Signals, code: int, ignored: bool
) -> None:
    """`ignored`: SIGINT is, as a shell has it for what it starts in the background."""
    started = tmp_path / "started"
    program = (
        "import pathlib, signal, sys, tempfile, time\n"
        f"signal.signal(signal.SIGINT, signal.{'SIG_IGN' if ignored else 'default_int_handler'})\n"
        "from archcaps.cli import main\n"
        "def waits(*_):\n"
        f"    with tempfile.TemporaryDirectory(prefix='.audit-', dir={str(tmp_path)!r}):\n"
        f"        pathlib.Path({str(started)!r}).touch()\n"
        "        time.sleep(300)\n"
        "main.cli.invoke = waits\n"
        "sys.argv = ['archcaps', 'decode', '1']\n"
        "main.main()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    while not started.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (code, b"")
    assert [path.name for path in tmp_path.iterdir()] == ["started"]


def test_a_worker_that_its_pool_ends_says_nothing() -> None:
    program = (
        "import multiprocessing, time\n"
        "from archcaps.cli.ends import ends_as_interrupt\n"
        "ends_as_interrupt()\n"
        "fork = multiprocessing.get_context('fork')\n"
        "ready = fork.Event()\n"
        "child = fork.Process(target=lambda: (ready.set(), time.sleep(300)))\n"
        "child.start()\n"
        "ready.wait()\n"
        "child.terminate()\n"
        "child.join()\n"
        "print(child.exitcode)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout) == ("", "143\n")
