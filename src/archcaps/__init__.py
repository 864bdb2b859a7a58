"""archcaps: is a KVM guest told the truth about its CPU?

The library is the product; the command line prints its answers.

    import archcaps
    host = archcaps.read_snapshot("examples/thread/host.toml")
    guest = archcaps.read_snapshot("examples/thread/guest.toml")
    result = archcaps.check(host, guest)
    result["mds"].truth.value          # "broken-promise"
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archcaps.errors import InputError
    from archcaps.machine.inline import guest, host
    from archcaps.machine.read import parse_snapshot, read_snapshot
    from archcaps.machine.snapshot import Snapshot
    from archcaps.machine.this import this_machine
    from archcaps.questions.check import check
    from archcaps.questions.decode import decode, difference, encode
    from archcaps.questions.default_guest import default_guest
    from archcaps.questions.diff import diff
    from archcaps.questions.fix.question import fix
    from archcaps.questions.fix.results import FixResult
    from archcaps.questions.kvm import Kvm, Vm
    from archcaps.questions.migrate import migrate
    from archcaps.questions.migrate_move import Vmms
    from archcaps.questions.prove import prove
    from archcaps.questions.results import CheckResult
    from archcaps.questions.upgrade import upgrade
    from archcaps.questions.vcpu import GP, Vcpu
    from archcaps.questions.word import Word

__all__ = [
    "GP", "CheckResult", "FixResult", "InputError", "Kvm", "Snapshot", "Vcpu", "Vm", "Vmms", "Word", "check", "decode",
    "default_guest", "diff", "difference", "encode", "fix", "guest", "host", "migrate", "parse_snapshot", "prove",
    "read_snapshot", "this_machine", "upgrade",
]  # fmt: skip

_HOMES = {
    "GP": "archcaps.questions.vcpu",
    "CheckResult": "archcaps.questions.results",
    "FixResult": "archcaps.questions.fix.results",
    "InputError": "archcaps.errors",
    "Kvm": "archcaps.questions.kvm",
    "Snapshot": "archcaps.machine.snapshot",
    "Vcpu": "archcaps.questions.vcpu",
    "Vm": "archcaps.questions.kvm",
    "Vmms": "archcaps.questions.migrate_move",
    "Word": "archcaps.questions.word",
    "check": "archcaps.questions.check",
    "decode": "archcaps.questions.decode",
    "default_guest": "archcaps.questions.default_guest",
    "diff": "archcaps.questions.diff",
    "difference": "archcaps.questions.decode",
    "encode": "archcaps.questions.decode",
    "fix": "archcaps.questions.fix.question",
    "guest": "archcaps.machine.inline",
    "host": "archcaps.machine.inline",
    "migrate": "archcaps.questions.migrate",
    "parse_snapshot": "archcaps.machine.read",
    "prove": "archcaps.questions.prove",
    "read_snapshot": "archcaps.machine.read",
    "this_machine": "archcaps.machine.this",
    "upgrade": "archcaps.questions.upgrade",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used, so that `import archcaps` costs little."""
    if name not in _HOMES:
        raise AttributeError(f"module 'archcaps' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  # only for a name that is really asked for

    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        from archcaps.extras import installs  # noqa: PLC0415  # only where something is missing

        package = (error.name or "").partition(".")[0]
        if not (command := installs(package)):
            raise
        text = f"archcaps.{name} needs {package}, which is not installed: {command}"
        raise ModuleNotFoundError(text, name=error.name) from error
