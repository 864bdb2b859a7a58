"""The command `archcaps` in a process that is forked off one which has loaded its modules: the start is most of a run.

What the command does is what it does from a shell: its own arguments, folder, environment, and streams that are pipes
or files. Only what Python itself reads from the environment when it starts is none of it (`starts_python`).
"""

from __future__ import annotations

import atexit
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

import archcaps

ROOT = Path(__file__).parents[2]
#: A request is one message.
_LONGEST = 60_000
#: What Python reads as it starts, and what makes click ask by what name the program was started.
_PYTHON = ("PYTHON", "LC_", "LANG", "MALLOC_", "LD_", "_ARCHCAPS")


def starts_python(environment: Mapping[str, str]) -> bool:
    """Whether a changed variable is one that a process reads as it starts."""
    return any(name.startswith(_PYTHON) and os.environ.get(name) != value for name, value in environment.items())


def run(arguments: tuple[str, ...], stdin: bytes, environment: Mapping[str, str]) -> tuple[int, bytes, bytes] | None:
    """Return the exit code and what the command wrote; None: it has to be started by itself."""
    request = json.dumps([arguments, dict(environment)]).encode()
    if starts_python(environment) or len(request) > _LONGEST:
        return None
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        server = _server()
        socket.send_fds(server, [request], [given.fileno(), out.fileno(), err.fileno()])
        code = int(server.recv(64))
        out.seek(0)
        err.seek(0)
        return code, out.read(), err.read()


@cache
def _server() -> socket.socket:
    """Start the process that others are forked off; it ends with this one."""
    own, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.cli.forked", str(its.fileno())]
    process = subprocess.Popen(command, cwd=ROOT, pass_fds=[its.fileno()])
    its.close()
    atexit.register(process.wait)
    atexit.register(own.close)
    return own


def _serve(number: int) -> None:
    from archcaps.cli.main import _COMMANDS  # noqa: PLC0415  # in the server alone

    for module in _COMMANDS.values():
        import_module(module)
    archcaps.check(archcaps.host(), archcaps.guest())  # the tables and the rules
    server = socket.socket(fileno=number)
    while True:
        request, streams, *_ = socket.recv_fds(server, 1 << 16, 3)
        if not request:
            return
        child = os.fork()
        if child == 0:
            server.close()
            arguments, environment = json.loads(request)
            _become(arguments, environment, streams)
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        server.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(arguments: list[str], environment: dict[str, str], streams: list[int]) -> None:
    """Run the command, and end."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["archcaps", *arguments]
    sys.stdin, sys.stdout, sys.stderr = (_text(0, "rb"), _text(1, "wb"), _text(2, "wb", "backslashreplace"))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from archcaps.cli.main import main  # noqa: PLC0415  # loaded already

    code: object = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    sys.stdout.flush()
    sys.stderr.flush()
    atexit._run_exitfuncs()
    os._exit(code if isinstance(code, int) else 0)


def _text(number: int, mode: str, errors: str = "strict") -> io.TextIOWrapper:
    """Return a standard stream as Python opens it; it is never closed."""
    stream = open(number, mode, closefd=False)  # noqa: SIM115  # for the whole process
    return io.TextIOWrapper(stream, encoding="utf-8", errors=errors, line_buffering=number == 2)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
