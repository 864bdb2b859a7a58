"""Ask a qemu-system-x86_64 over QMP for all that archcaps' tables of QEMU hold, and write it as one JSON file.

Usage: python -m tools.qemu.record PROGRAM FILE

Every CPU model is expanded with machine type none, and again with each machine type: what differs there is kept.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

Properties = dict[str, Any]


class Qemu:
    """A QEMU that runs no guest and answers QMP; a context manager."""

    def __init__(self, program: str, machine: str = "none", accelerator: str = "tcg", *more: str) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(60)
        self._process = subprocess.Popen(
            [program, "-S", "-nodefaults", "-display", "none", "-machine", machine, "-accel", accelerator, "-m", "64",
             "-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control", *more],
            pass_fds=[theirs.fileno()], stderr=subprocess.PIPE,
        )  # fmt: skip
        theirs.close()
        self._file = self._socket.makefile("rwb")

    def __enter__(self) -> Qemu:
        if not self._file.readline():
            assert self._process.stderr is not None
            text = self._process.stderr.read().decode("utf-8", "replace")
            self.__exit__()
            raise RuntimeError(text)
        self("qmp_capabilities")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()
        self._process.kill()
        self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def __call__(self, command: str, **arguments: object) -> Any:  # noqa: ANN401  # JSON
        request = {"execute": command, **({"arguments": arguments} if arguments else {})}
        self._file.write(json.dumps(request).encode())
        self._file.flush()
        while True:
            reply = json.loads(self._file.readline())
            if "return" in reply:
                return reply["return"]
            if "error" in reply:
                raise LookupError(reply["error"]["desc"])

    def expand(self, model: str, **properties: object) -> Properties:
        """Return all properties of a CPU model, or of one with properties set."""
        given = {"name": model, **({"props": properties} if properties else {})}
        found: Properties = self("query-cpu-model-expansion", type="full", model=given)["model"]["props"]
        return found


def record(program: str) -> dict[str, Any]:
    with Qemu(program) as qemu:
        version = qemu("query-version")
        definitions = qemu("query-cpu-definitions")
        found: dict[str, Any] = {
            "release": ".".join(str(version["qemu"][part]) for part in ("major", "minor", "micro")),
            "package": version["package"],
            "definitions": definitions,
            "properties": qemu("device-list-properties", typename="max-x86_64-cpu"),
            "models": {each["name"]: qemu.expand(each["name"]) for each in definitions if each["name"] != "host"},
            "machines": {},
        }
        machines = [each for each in qemu("query-machines") if each["name"] != "none"]
    for machine in machines:
        try:
            with Qemu(program, machine["name"]) as qemu:
                aliases = {
                    each["name"]: each["alias-of"] for each in qemu("query-cpu-definitions") if "alias-of" in each
                }
                models = {name: qemu.expand(name) for name in found["models"]}
        except RuntimeError as error:
            print(f"record: {machine['name']}: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
            continue
        differs = {
            name: {key: value for key, value in model.items() if found["models"][name].get(key) != value}
            for name, model in models.items()
        }
        found["machines"][machine["name"]] = {"called": machine.get("alias"), "aliases": aliases, "differs": differs}
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        with Qemu(program, "q35", "kvm") as qemu:
            found["kvm"] = {name: qemu.expand(name) for name in found["models"]}
    return found


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(record(sys.argv[1])) + "\n", encoding="utf-8")
