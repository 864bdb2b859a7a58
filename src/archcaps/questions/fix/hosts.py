"""What can be changed in the host: kernel, KVM's parameters, boot options, microcode."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from msgspec.structs import replace

from archcaps.machine.facts import facts_of_host, part_of
from archcaps.machine.snapshot import Kernel, Snapshot, number
from archcaps.questions.fix.changes import Rules, total
from archcaps.questions.fix.flags import with_bits
from archcaps.questions.fix.kernels import newer, present, with_release, without_observations
from archcaps.questions.fix.results import Step
from archcaps.tables import changes
from archcaps.tables.silicon import microcode_against, tsa_microcode_needed

__all__ = ["Variant", "host_variants", "option_changes"]

#: Combinations of boot options are tried up to this many at once.
_OPTIONS = 2


@dataclass(frozen=True, slots=True)
class Variant:
    """A machine with some changes made."""

    steps: tuple[Step, ...]
    machine: Snapshot

    @property
    def cost(self) -> int:
        """What the changes cost together."""
        return total(self.steps)


def host_variants(host: Snapshot, rules: Rules) -> list[Variant]:
    """Return the host as it is and with every combination of changes that can be made to it, the cheapest first."""
    found = [Variant((), host)]
    found += [_and(variant, change) for change in _microcode(host, rules) for variant in list(found)]
    options = _options(host, rules)
    sets = [chosen for size in range(1, _OPTIONS + 1) for chosen in combinations(options, size)]
    for variant in list(found):
        for chosen in sets:
            changed = variant
            for change in chosen:
                changed = _and(changed, change)
            found.append(changed)
    if rules.allows("host-kernel") and (now := present(host)) is not None:
        for release in newer(now):
            step = rules.of_kernel("host-kernel", release, now)
            found += [
                Variant((*variant.steps, step), with_release(variant.machine, release))
                for variant in found
                if not any(each.kind == "host-kernel" for each in variant.steps)
            ]
    fitting = [variant for variant in found if len(variant.steps) <= rules.max_changes]
    return sorted(fitting, key=lambda variant: variant.cost)


@dataclass(frozen=True, slots=True)
class _Change:
    """One change of a host: other bits of its CPU, another kernel or parameter, another microcode revision."""

    step: Step
    bits: tuple[tuple[str, bool], ...] = ()
    cmdline: tuple[str, str] | None = None
    parameter: tuple[str, str] | None = None
    revision: int | None = None


def _and(variant: Variant, change: _Change) -> Variant:
    machine = without_observations(variant.machine)
    if change.bits:
        machine = with_bits(machine, dict(change.bits))
    if change.revision is not None:
        machine = replace(machine, cpu=replace(machine.cpu, microcode=change.revision))
    if change.parameter is not None:
        parameters = dict(machine.kvm.parameters) | dict([change.parameter])
        machine = replace(machine, kvm=replace(machine.kvm, parameters=parameters))
    if change.cmdline is not None:
        machine = replace(machine, kernel=_edited(machine.kernel, change.cmdline))
    return Variant((*variant.steps, change.step), machine)


def _edited(kernel: Kernel, edit: tuple[str, str]) -> Kernel:
    """Return the kernel with a word of its command line taken away, another one put at its end."""
    away, added = edit
    words = [word for word in (kernel.cmdline or "").split() if word != away]
    return replace(kernel, cmdline=" ".join([*words, added] if added else words))


def option_changes(machine: Snapshot, kind: str, rules: Rules) -> list[tuple[Step, Snapshot]]:
    """Return the changes of a kernel's command line that switch on what is off, each with the machine after it."""
    return [
        (change.step, replace(without_observations(machine), kernel=_edited(machine.kernel, change.cmdline)))
        for change in _cmdline(machine, kind, rules)
        if change.cmdline is not None
    ]


def _cmdline(machine: Snapshot, kind: str, rules: Rules) -> list[_Change]:
    if not rules.allows(kind) or machine.kernel.cmdline is None or machine.kernel.system != "linux":
        return []
    present_words = machine.kernel.cmdline.split()
    found = []
    for option in changes.options():
        off = [word for value in option.off if (word := f"{option.name}={value}") in present_words]
        found += [
            _Change(rules.step(kind, f"take {word} off the {machine.role} kernel's command line"), cmdline=(word, ""))
            for word in off
        ]
        if option.compiled and not off and _is_off(machine, option.compiled):
            word = f"{option.name}={option.on}"
            found.append(
                _Change(rules.step(kind, f"add {word} to the {machine.role} kernel's command line"), cmdline=("", word))
            )
    return found


def _is_off(machine: Snapshot, lookup: str) -> bool:
    """Whether a kernel without the option has the mitigation off, as it was built."""
    as_host = replace(machine, role="host")
    return facts_of_host(as_host).values.get(f"host_kernel.{lookup}") is True


def _options(host: Snapshot, rules: Rules) -> list[_Change]:
    """Return the changes of boot options and of KVM's parameters: L1D flush, TSX, and what is switched off."""
    found = _cmdline(host, "host-options", rules)
    if not rules.allows("host-options") or host.cpu.vendor != "GenuineIntel":
        return found
    facts = facts_of_host(host).values
    if facts.get("host_kernel.l1d_flush_always") is not True:
        source = "Linux Documentation/admin-guide/hw-vuln/l1tf.rst: always flushes the L1D at every VM entry"
        step = rules.step("host-options", "kvm_intel.vmentry_l1d_flush=always on the host", source)
        found.append(_Change(step, parameter=("vmentry_l1d_flush", "always")))
    rtm = facts.get("host.rtm")
    if facts.get("host.tsx_ctrl") and rtm is not None and not facts.get("host.rtm_always_abort"):
        word = "tsx=off" if rtm else "tsx=on"
        away = next((each for each in (host.kernel.cmdline or "").split() if each.startswith("tsx=")), "")
        source = "Linux Documentation/admin-guide/hw-vuln/tsx_async_abort.rst: tsx= switches TSX by TSX_CTRL"
        step = rules.step("host-options", f"{word} on the host kernel's command line", source)
        edit = (away, word) if host.kernel.cmdline is not None else None
        found.append(_Change(step, bits=(("rtm", not rtm),), cmdline=edit))
    return found


def _microcode(host: Snapshot, rules: Rules) -> list[_Change]:
    """Return what newer microcode brings: AMD's revision against TSA, and the bits of Intel's."""
    if not rules.allows("microcode"):
        return []
    facts, part = facts_of_host(host).values, part_of(host)
    found = []
    needed = tsa_microcode_needed(part)
    revision = host.cpu.microcode
    if needed is not None and (revision is None or number(revision, 64, "cpu.microcode") < needed):
        source = "AMD-SB-7029; Linux arch/x86/kernel/cpu/amd.c amd_check_tsa_microcode"
        found.append(_Change(rules.step("microcode", f"microcode {needed:#x} or later on the host", source),
                             revision=needed))  # fmt: skip
    for entry in changes.microcode():
        lacks = facts.get(f"host.{entry.bit}") is False
        fits = not entry.needs or facts.get(f"host.{entry.needs}") is True
        if lacks and fits and facts.get("host.hypervisor") is False and microcode_against(entry.columns, part):
            what = f"newer microcode on the host, which enumerates {entry.bit}"
            found.append(_Change(rules.step("microcode", what, entry.source), bits=((entry.bit, True),)))
    return found
