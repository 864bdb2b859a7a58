"""Asking a running QEMU over its QMP socket: a few read-only questions, in bounded time and memory."""

from __future__ import annotations

import json
import socket
import time
from typing import Any, Final

from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.qemu.replies import CPU_TYPE, MACHINE_TYPE, read_replies
from archcaps.tables.bits import ARCH_CAPABILITIES

__all__ = ["Qmp", "ask"]

#: A reply is some hundred kilobytes at most (query-cpu-definitions).
_MAX_REPLY: Final = 4 << 20
_SECONDS: Final = 10.0
#: Events may come at any time between replies; so many in a row mean that no reply comes.
_MAX_EVENTS: Final = 1000


class Qmp:
    """A connection to a QEMU's QMP socket on this machine; a context manager.

    Raises:
        InputError: there is no such socket, it does not speak QMP, or QEMU does not answer in time.
    """

    def __init__(self, path: str, seconds: float = _SECONDS) -> None:
        self._path = path
        self._until = time.monotonic() + seconds
        self._rest = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def __enter__(self) -> Qmp:
        try:
            self._socket.settimeout(max(self._until - time.monotonic(), 0.01))
            self._socket.connect(self._path)
            greeting = self._read()
            if "QMP" not in greeting:
                raise InputError("does not greet as QEMU's QMP does", self._path)
            self.greeting = greeting
            self.must("qmp_capabilities")
        except OSError as error:
            self._socket.close()
            raise InputError(f"cannot be connected to: {error.strerror or error}", self._path) from error
        except InputError:
            self._socket.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def __call__(self, command: str, **arguments: object) -> Any:  # noqa: ANN401  # JSON of any shape
        """Return the answer to a command.

        Raises:
            LookupError: QEMU refuses it.
            InputError: no answer comes.
        """
        request = {"execute": command, **({"arguments": arguments} if arguments else {})}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise InputError(f"the connection broke: {error.strerror or error}", self._path) from error
        for _ in range(_MAX_EVENTS):
            reply = self._read()
            if "return" in reply:
                return reply["return"]
            if "error" in reply:
                refusal = reply["error"]
                raise LookupError(str(refusal.get("desc") if isinstance(refusal, dict) else refusal))
        raise InputError(f"{_MAX_EVENTS} events and no answer", self._path)

    def must(self, command: str) -> Any:  # noqa: ANN401  # JSON of any shape
        """Return the answer to a command that every QEMU answers.

        Raises:
            InputError: QEMU refuses it, or no answer comes.
        """
        try:
            return self(command)
        except LookupError as error:
            raise InputError(
                f"QEMU refuses {command}: {error.args[0]} (is another client asking it?)", self._path
            ) from error

    def _read(self) -> dict[str, Any]:
        while b"\n" not in self._rest:
            left = self._until - time.monotonic()
            if left <= 0:
                raise InputError("no answer in time (another client, as libvirt, may hold the socket)", self._path)
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError as error:
                raise InputError(f"the connection broke: {error.strerror or error}", self._path) from error
            if not data:
                raise InputError("the connection was closed", self._path)
            self._rest += data
            if len(self._rest) > _MAX_REPLY:
                raise InputError(f"an answer of more than {_MAX_REPLY >> 20} MiB", self._path)
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError("an answer that is no JSON", self._path) from error
        if not isinstance(value, dict):
            raise InputError("an answer that is no JSON object", self._path)
        return value


def ask(path: str, seconds: float = _SECONDS) -> Asked:
    """Return the CPU of the guest that a running QEMU has, read from its first virtual CPU.

    Raises:
        InputError: QEMU cannot be asked.
    """
    with Qmp(path, seconds) as qmp:
        lines: list[dict[str, object]] = [{"return": qmp.must("query-version")}, {"return": qmp.must("query-kvm")}]
        cpus = qmp.must("query-cpus-fast")
        if not isinstance(cpus, list) or not cpus or not isinstance(cpus[0], dict) or "qom-path" not in cpus[0]:
            raise InputError("tells of no virtual CPU", path)
        place = cpus[0]["qom-path"]
        questions = {MACHINE_TYPE: ("/machine", "type"), CPU_TYPE: (place, "type")}
        names = ("vendor", "family", "model", "stepping", "migratable", "feature-words", "unavailable-features")
        bits = ("arch-capabilities", *(row.names["qemu"] for row in ARCH_CAPABILITIES.values() if "qemu" in row.names))
        questions |= {name: (place, name) for name in (*names, *bits)}
        for subject, (path_of, name) in questions.items():
            try:
                lines.append({"return": qmp("qom-get", path=path_of, property=name), "id": subject})
            except LookupError:
                continue  # a property that this release or this model does not have
        for holder in ("/machine/peripheral", "/machine/peripheral-anon"):
            try:
                lines.append({"return": qmp("qom-list", path=holder), "id": holder})
            except LookupError:
                continue
    return read_replies("".join(json.dumps(line) + "\n" for line in lines), f"QMP socket {path}")
