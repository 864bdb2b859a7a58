"""A QMP socket that answers with errors or with what no QEMU says: one clear line.

The form of an error is QEMU's docs/interop/qmp-spec.rst, section "Error".
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from archcaps.errors import InputError
from archcaps.guest_cpu.qemu.qmp import ask
from tests.cli.running import archcaps, assert_refused
from tests.faults.hostile import HOSTILE, unsafe

GREETING = '{"QMP": {"version": {"qemu": {"major": 10, "minor": 1, "micro": 0}}, "capabilities": []}}'
ERROR = json.dumps({"error": {"class": "GenericError", "desc": f"no {HOSTILE}"}})
DONE = '{"return": {}}'
CPUS = '{"return": [{"qom-path": "/machine/unattached/device[0]"}]}'


@contextmanager
def qemu(path: Path, greeting: str, answers: list[str]) -> Iterator[None]:
    """A server at a socket that greets, gives an answer for each line it is sent, and then only the last one."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen(1)

    def serve() -> None:
        client, _ = server.accept()
        with client, client.makefile("rwb") as stream:
            stream.write(greeting.encode() + b"\n")
            stream.flush()
            for number, _ in enumerate(stream):
                stream.write(answers[min(number, len(answers) - 1)].encode() + b"\n")
                stream.flush()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.close()


@pytest.mark.parametrize(
    ("greeting", "answers", "line"),
    [
        (GREETING, [ERROR], "QEMU refuses qmp_capabilities: no "),
        (GREETING, [DONE, ERROR], "QEMU refuses query-version: no "),
        (GREETING, [DONE, DONE, ERROR], "QEMU refuses query-kvm: no "),
        (GREETING, [DONE, DONE, DONE, ERROR], "QEMU refuses query-cpus-fast: no "),
        (GREETING, [DONE, DONE, DONE, CPUS, ERROR], "no reply tells of a CPU"),
        (GREETING, ['{"error": "text"}'], "QEMU refuses qmp_capabilities: text"),
        (GREETING, ['{"error": null}'], "QEMU refuses qmp_capabilities: None"),
        (GREETING, [DONE, DONE, DONE, DONE], "tells of no virtual CPU"),
        (GREETING, [DONE, DONE, DONE, '{"return": [1]}'], "tells of no virtual CPU"),
        (GREETING, ["[]"], "an answer that is no JSON object"),
        (GREETING, ["x"], "an answer that is no JSON"),
        (GREETING, ['{"return": ' + "[" * 100_000], "an answer that is no JSON"),
        (GREETING, ['{"return": ' + "1" * 5000 + "}"], "an answer that is no JSON"),
        ("{}", [DONE], "does not greet as QEMU's QMP does"),
        ("HTTP/1.1 400 Bad Request", [DONE], "an answer that is no JSON"),
    ],
)
def test_an_answer_of_no_use_is_one_line(tmp_path: Path, greeting: str, answers: list[str], line: str) -> None:
    path = tmp_path / "qmp"
    with qemu(path, greeting, answers), pytest.raises(InputError) as error:
        ask(str(path))
    assert line in str(error.value)


def test_the_command_says_it_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    with qemu(path, GREETING, [DONE, ERROR]):
        done = archcaps("shown", "--qmp", str(path))
    assert_refused(done, 65, "QEMU refuses query-version: no vm\\u001b[5A")
    assert not unsafe(done.stderr)


@pytest.mark.parametrize("value", ["null", "1", '"x"', "[]", "{}", "[null]", "[{}]", '[{"cpuid-register": 1}]', "true"])
def test_values_of_another_kind_are_no_crash(tmp_path: Path, value: str) -> None:
    path = tmp_path / "qmp"
    with qemu(
        path, GREETING, [DONE, f'{{"return": {value}}}', f'{{"return": {value}}}', CPUS, f'{{"return": {value}}}']
    ):
        try:
            asked = ask(str(path))
        except InputError as error:
            assert "\n" not in str(error)  # either is right: an answer, or one line
        else:
            assert asked.vmm == "qemu"
