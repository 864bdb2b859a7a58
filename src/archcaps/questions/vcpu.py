"""A vCPU as KVM's userspace sees it around MSR 0x10a: its CPUID, its MSRs, and what the guest gets from them.

Three answers are possible everywhere: yes, no, and None where no reading of this kernel, no observation and no given
fact settles it. After a call whose outcome is unknown the vCPU holds what is certain either way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from archcaps.errors import InputError
from archcaps.logic.graph import Node
from archcaps.machine.snapshot import Accepted, check_cpuid_bit, number
from archcaps.questions.kvm_reader import ACCESS, KVM, KvmReader
from archcaps.questions.word import Word, either
from archcaps.rules import kvm_msrs as rules
from archcaps.tables.bits import ARCH_CAPABILITIES

if TYPE_CHECKING:
    from archcaps.questions.kvm import Vm

__all__ = ["ARCH_CAP", "FLUSH_CMD", "GP", "MCU_OPT_CTRL", "MODELLED_MSRS", "TSX_CTRL", "Fault", "Vcpu"]

ARCH_CAP, FLUSH_CMD, TSX_CTRL, MCU_OPT_CTRL = 0x10A, 0x10B, 0x122, 0x123
#: The MSRs that are modelled: IA32_ARCH_CAPABILITIES, FLUSH_CMD, TSX_CTRL, MCU_OPT_CTRL.
MODELLED_MSRS: Final = (ARCH_CAP, FLUSH_CMD, TSX_CTRL, MCU_OPT_CTRL)
#: The bits that each of them has. Source: Linux arch/x86/include/asm/msr-index.h
_HAS: Final = {FLUSH_CMD: 1, TSX_CTRL: 3}
_RTM_DISABLE: Final = 1
_NOTHING: Final = Word(0)


class Fault:
    """What a guest gets in place of a value: a general-protection exception."""

    def __repr__(self) -> str:
        return "#GP"


GP: Final = Fault()


class Vcpu:
    """One vCPU; `Vm.create_vcpu` makes it.

    Not modelled: nested guests (while one runs, newer kernels refuse CPUID and feature MSRs too), MSR filters.
    """

    def __init__(self, vm: Vm) -> None:
        self.vm = vm
        self._kvm = vm.kvm
        self._shown: dict[str, bool | None] = {}
        self._set_cpuid = False
        self._has_run: bool | None = False
        self._read: Word | None = None
        self._held = self._first()
        self._tsx_ctrl = Word(0, ~_RTM_DISABLE & (1 << 64) - 1) if self._cpuid_rewrites is not False else _NOTHING
        self._update_fb_clear_dis()

    @property
    def arch_capabilities(self) -> Word:
        """The value of MSR 0x10a that KVM holds for the vCPU, whether userspace or the guest can read it or not."""
        return self._held

    @property
    def disable_fb_clear(self) -> bool | None:
        """Whether KVM sets FB_CLEAR_DIS while the vCPU runs; None: unknown.

        As KVM does, it is kept: decided at the end of a reset and after each set of MSR 0x10a, one that fails too,
        not when CPUID is set (source: vmx_update_fb_clear_dis and its callers).
        """
        return self._disable_fb_clear

    # --- ioctls ---------------------------------------------------------------------------------------------------

    def set_cpuid2(self, shown: Iterable[str]) -> bool | None:
        """KVM_SET_CPUID2: the guest's CPUID shows these bits, by name, and no others; return whether KVM takes it.

        After the first KVM_RUN the same CPUID is taken, another one perhaps: None, and the bits that differ are
        unknown from then on.

        Raises:
            InputError: a name is no CPUID bit.
        """
        names = frozenset(shown)
        for name in names:
            check_cpuid_bit(name, "set_cpuid2")
        old = {name for name, bit in self._shown.items() if bit}
        changed = names ^ old
        if self._has_run and changed:
            self._shown |= dict.fromkeys(changed, None)
            self._tsx_ctrl = either((self._tsx_ctrl, self._tsx_ctrl_by_cpuid()))
            return None
        self._shown = dict.fromkeys(names, True)
        self._set_cpuid = True
        self._read = None
        self._tsx_ctrl = self._tsx_ctrl_by_cpuid()
        return True

    def get_msrs(self, indices: Sequence[int]) -> list[Word] | None:
        """KVM_GET_MSRS: return the values up to the first MSR that cannot be read; None: how many is unknown.

        Raises:
            InputError: an MSR is not modelled.
        """
        found = []
        for index in _checked(indices):
            fails, value = self._get(index)
            if fails is None:
                return None
            if fails:
                break
            found.append(value)
        return found

    def set_msrs(self, values: Mapping[int, int]) -> int | None:
        """KVM_SET_MSRS: write MSRs in this order up to the first that fails; return how many were set, None: unknown.

        Raises:
            InputError: an MSR is not modelled, or a value does not fit in 64 bits.
        """
        for index, value in values.items():
            number(value, 64, f"set_msrs: MSR {index:#x}")
        count: int | None = 0
        for index in _checked(values):
            before = self._state()
            accepted = self._set(index, values[index])
            if count is None:
                self._unsure(before)
            if accepted is False:
                return count
            count = None if accepted is None or count is None else count + 1
        return count

    def run(self) -> None:
        """KVM_RUN: from now on the vCPU has run."""
        self._has_run = True

    def reset(self) -> None:
        """RESET or creation: MSR 0x10a and 0x122 stay as they are; FB_CLEAR_DIS is decided again."""
        self._update_fb_clear_dis()

    init = reset

    # --- instructions of the guest --------------------------------------------------------------------------------

    def guest_rdmsr(self, index: int) -> Word | Fault | None:
        """RDMSR in the guest: the value, `GP`, or None where it is unknown whether it faults.

        Raises:
            InputError: the MSR is not modelled.
        """
        _checked((index,))
        if index == ARCH_CAP:
            faults = self._access(rules.guest_read_of_arch_cap_faults(ACCESS, KVM))
            value = self._where(self._access(rules.guest_reads_arch_cap(ACCESS, KVM)), self._held, _NOTHING)
        elif index == TSX_CTRL:
            faults = self._access(rules.guest_tsx_ctrl_faults(ACCESS, KVM), value_fits=True)
            value = self._where(self._keeps_tsx_ctrl, self._tsx_ctrl, _NOTHING)
        else:  # 0x10b can only be written, 0x123 not at all
            faults, value = self._host(rules.unsupported_msr_faults(KVM)), _NOTHING
        return None if faults is None else GP if faults else value

    def guest_wrmsr(self, index: int, value: int) -> Fault | bool | None:
        """WRMSR in the guest: `GP`; True, it does not fault (which may mean that KVM ignores it); None: unknown.

        Raises:
            InputError: the MSR is not modelled, or the value does not fit in 64 bits.
        """
        _checked((index,))
        fits = not number(value, 64, f"guest_wrmsr: MSR {index:#x}") & ~_HAS.get(index, 0)
        if index == ARCH_CAP:
            faults = self._host(rules.guest_write_of_arch_cap_faults(KVM))
        elif index == FLUSH_CMD:
            faults = self._access(rules.guest_flush_cmd_faults(ACCESS, KVM), value_fits=fits)
        elif index == TSX_CTRL:
            faults = self._access(rules.guest_tsx_ctrl_faults(ACCESS, KVM), value_fits=fits)
            written = None if faults is None else not faults
            self._tsx_ctrl = self._where(written, Word(value), self._tsx_ctrl)
        else:
            faults = self._host(rules.unsupported_msr_faults(KVM))
        return None if faults is None else GP if faults else True

    # --- how ------------------------------------------------------------------------------------------------------

    @property
    def _reader(self) -> KvmReader:
        return self._kvm.reader

    def _host(self, node: Node) -> bool | None:
        return self._reader.value(node)

    def _access(self, node: Node, **facts: bool | None) -> bool | None:
        held = self._held.bit(ARCH_CAPABILITIES["tsx_ctrl"].mask)
        given = {
            "cpuid_arch_capabilities": self._shown.get("arch_capabilities", False),
            "cpuid_flush_l1d": self._shown.get("flush_l1d", False),
            "has_run": self._has_run,
            "holds_tsx_ctrl": held,
            "quirk_stuff_feature_msrs": self.vm.stuff_feature_msrs,
        }
        return self._reader.of_access(node, given | facts)

    @staticmethod
    def _where(condition: bool | None, then: Word, otherwise: Word) -> Word:
        """Return `then` where the condition holds, `otherwise` where not, and what is certain where it is unknown."""
        return either((then, otherwise)) if condition is None else then if condition else otherwise

    def _first(self) -> Word:
        """Return the MSR 0x10a of a new vCPU: modelled, or as far as it was observed."""
        stuffed = self._reader.of_access(
            rules.starts_with_offer(ACCESS, KVM), {"quirk_stuff_feature_msrs": self.vm.stuff_feature_msrs}
        )
        modelled = self._where(stuffed, self._kvm.supported_arch_cap, _NOTHING)
        seen = self._kvm.tries.initial
        if seen is None or self._kvm.changed or self.vm.stuff_feature_msrs is not True:
            return modelled
        self._read = Word(seen)
        needs = self._host(KVM.kernel.arch_cap_needs_cpuid)
        if seen or needs is False:  # a vCPU without the CPUID bit reads 0 from 6.13 on, whatever it holds
            return Word(seen)
        return modelled if needs else either((modelled, _NOTHING))

    def _get(self, index: int) -> tuple[bool | None, Word]:
        """Return whether KVM_GET_MSRS fails for one MSR, and its value."""
        if index == ARCH_CAP:
            return False, self._host_read()
        if index == TSX_CTRL:
            kept, fails = self._keeps_tsx_ctrl, self._host(rules.unsupported_msr_faults(KVM))
            value = self._where(kept, self._tsx_ctrl, _NOTHING)
            if kept is None and fails is False:
                return False, value
            return (False if kept else None if kept is None else fails), value
        return self._host(rules.unsupported_msr_faults(KVM)), _NOTHING

    def _host_read(self) -> Word:
        if self._read is not None:
            return self._read
        return self._where(self._access(rules.arch_cap_unsupported(ACCESS, KVM)), _NOTHING, self._held)

    def _set(self, index: int, value: int) -> bool | None:
        """Write one MSR as KVM_SET_MSRS does; return whether KVM takes it."""
        if index == ARCH_CAP:
            return self._set_arch_cap(value)
        fits = not value & ~_HAS.get(index, 0)
        if index == FLUSH_CMD:
            return self._access(rules.host_writes_flush_cmd(ACCESS, KVM), value_fits=fits)
        if index == TSX_CTRL:
            accepted = self._access(rules.host_writes_tsx_ctrl(ACCESS, KVM), value_fits=fits)
            self._tsx_ctrl = self._where(accepted, Word(value), self._tsx_ctrl)
            return accepted
        faults = self._host(rules.unsupported_msr_faults(KVM))
        return None if faults is None else not faults

    def _set_arch_cap(self, value: int) -> bool | None:
        shown = self._shown.get("arch_capabilities", False)
        facts = {"value_is_zero": value == 0, "value_is_the_same": self._host_read().may_be(value)}
        accepted = self._access(rules.host_writes_arch_cap(ACCESS, KVM), **facts)
        stored = self._access(rules.host_write_is_stored(ACCESS, KVM), **facts)
        read = None
        if not self._has_run and self._set_cpuid and not self._kvm.changed:
            seen = self._kvm.tries.seen(shown, value)
            if seen is not None:
                accepted, stored, read = self._observed(seen, value, stored)
            elif shown is not None and self._kvm.tries.refuses(shown, value):
                accepted = stored = False
            elif shown is not None and self._kvm.contradicted(shown):
                accepted = stored = None
        self._read = read
        self._held = self._where(stored, Word(value), self._held)
        self._update_fb_clear_dis()
        return accepted

    def _observed(self, seen: Accepted, value: int, stored: bool | None) -> tuple[bool, bool | None, Word | None]:
        """Return what was observed of this very write; the rule still says where a write of 0 went."""
        read = self._kvm.tries.read(seen)
        if not seen.accepted:
            return False, False, read
        if value and read is not None:
            return True, read == value, read
        return True, stored, read

    @property
    def _keeps_tsx_ctrl(self) -> bool | None:
        return self._host(rules.keeps_tsx_ctrl(KVM))

    @property
    def _cpuid_rewrites(self) -> bool | None:
        return self._host(rules.set_cpuid_writes_tsx_ctrl(KVM))

    def _tsx_ctrl_by_cpuid(self) -> Word:
        """Return MSR 0x122 after KVM_SET_CPUID2 with the CPUID of now."""
        rtm = self._shown.get("rtm", False)
        written = self._where(rtm, _NOTHING, Word(_RTM_DISABLE))
        return self._where(self._cpuid_rewrites, written, self._tsx_ctrl)

    def _update_fb_clear_dis(self) -> None:
        self._disable_fb_clear = self._reader.disable_fb_clear(self._held)

    def _state(self) -> tuple[Word, Word]:
        return self._held, self._tsx_ctrl

    def _unsure(self, before: tuple[Word, Word]) -> None:
        """Keep what holds whether the last write was made at all or not."""
        self._held, self._tsx_ctrl = (either(pair) for pair in zip(before, self._state(), strict=True))
        self._read = None
        self._update_fb_clear_dis()


def _checked(indices: Iterable[int]) -> list[int]:
    """Return MSR numbers; refuse those that are not modelled."""
    found = list(indices)
    for index in found:
        if index not in MODELLED_MSRS:
            known = ", ".join(f"{msr:#x}" for msr in MODELLED_MSRS)
            raise InputError(f"MSR {index:#x} is not modelled (expected one of {known})")
    return found
