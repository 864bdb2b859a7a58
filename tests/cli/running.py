"""The real command as a user runs it: through pipes, and on a terminal."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

from tests.cli import forked

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("archcaps")


def archcaps(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `archcaps` at the project's root; its output as UTF-8."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    environment = {**inherited, **environment}
    if (found := forked.run(arguments, stdin, environment)) is not None:
        code, out, err = found
        return subprocess.CompletedProcess(arguments, code, out.decode(), err.decode())
    result = subprocess.run(
        [COMMAND, *arguments], cwd=ROOT, input=stdin, capture_output=True, check=False, env=environment
    )
    return subprocess.CompletedProcess(result.args, result.returncode, result.stdout.decode(), result.stderr.decode())


def on_terminal(*arguments: str, columns: int = 80, **environment: str) -> str:
    """Return what a terminal of that width is sent by a run that succeeds."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "TERM")}
    process = subprocess.Popen(
        [COMMAND, *arguments], cwd=ROOT, stdin=slave, stdout=slave, stderr=slave,
        env={**inherited, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(slave)
    parts = []
    while True:
        try:
            part = os.read(master, 1 << 16)
        except OSError as error:  # how Linux says that the other side is closed
            assert error.errno == errno.EIO
            break
        if not part:
            break
        parts.append(part)
    os.close(master)
    assert process.wait() == 0
    return b"".join(parts).decode().replace("\r\n", "\n")


def assert_refused(result: subprocess.CompletedProcess[str], code: int, line: str) -> None:
    """Nothing on standard output, and one line on standard error that says what is wrong."""
    assert (result.returncode, result.stdout) == (code, "")
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("archcaps: ")
    assert line in result.stderr
