"""One case for `archcaps predict` from a few options."""

from __future__ import annotations

from collections.abc import Mapping

from archcaps.errors import InputError
from archcaps.machine.given_options import ASSUMED_CONFIG, config_items
from archcaps.machine.inline import InlineMachine, overlay
from archcaps.machine.snapshot import Kernel
from archcaps.questions.predict_case import Case, check_release

__all__ = ["single_case"]


def single_case(given: Mapping[str, str | None], *, smt: bool | None, guest: bool, strict: bool = False) -> Case:
    """Return the case that options describe, each as the user wrote it; None: not given.

    `given` has kernel, cpu, arch_capabilities, flags, cmdline, config, microcode. `strict`: a command line and a
    configuration that are not given are unknown, not supposed to be empty and upstream's.

    Raises:
        InputError: an option's value cannot be read.
    """
    kernel, flags, config = given["kernel"], given["flags"], given["config"]
    values = (given["cpu"], flags, given["arch_capabilities"], kernel, given["cmdline"], given["microcode"])
    options = InlineMachine("guest", *values)
    if kernel is not None:
        check_release(kernel, "--kernel")
    machine = overlay(None, options)
    identity, shown = machine.cpu, machine.cpuid
    bits = None
    if flags is not None and shown is not None:
        bits = [name for name in shown.shown if name != "hypervisor"]
    register = machine.registers.get("ia32_arch_capabilities")
    config_items(Kernel(config=config), "--config")
    case = Case(
        kernel=kernel, vendor=identity.vendor, family=identity.family, model=identity.model, stepping=identity.stepping,
        hypervisor=guest, bits=bits, cmdline=given["cmdline"] if strict else given["cmdline"] or "",
        config=config if strict else config or ASSUMED_CONFIG,
        smp=None if smt is None else "2,threads=2" if smt else 1,
    )  # fmt: skip
    if register is not None:
        case.arch_caps = register.value
        if bits is None:
            raise InputError("needs --flags: the register counts only where CPUID shows it", "--arch-capabilities")
    elif flags is not None:
        case.arch_caps = None
    if identity.microcode is not None:
        revision = int(str(identity.microcode), 0)
        case.msrs = {"0x8b": revision << 32 if identity.vendor == "GenuineIntel" else revision}
    return case
