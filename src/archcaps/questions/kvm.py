"""KVM's userspace interface around MSR 0x10a as an executable specification: /dev/kvm, virtual machines, vCPUs.

    kvm = archcaps.Kvm(host, parameters={"vmentry_l1d_flush": "auto", "ept": "Y"})
    vcpu = kvm.create_vm().create_vcpu()
    vcpu.set_cpuid2(["arch_capabilities"])
    vcpu.set_msrs({0x10A: 0x2B})       # 1: one MSR was set

The calls have KVM's names and do what the kernel's own functions do; which those are is said in `rules/kvm_msrs.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from msgspec.structs import replace

from archcaps.errors import InputError, nearest
from archcaps.machine.inline import InlineMachine, overlay
from archcaps.machine.snapshot import Snapshot, number
from archcaps.questions.kvm_observed import Tries
from archcaps.questions.kvm_reader import KVM, KvmReader
from archcaps.questions.vcpu import ARCH_CAP, MCU_OPT_CTRL, MODELLED_MSRS, TSX_CTRL, Fault, Vcpu
from archcaps.questions.word import Word
from archcaps.rules import kvm_msrs, kvm_offer, kvm_vmx_entry
from archcaps.rules.kvm_offer import OFFERED_CPUID, kvm_get_arch_capabilities, kvm_get_supported_cpuid
from archcaps.tables.bits import ARCH_CAPABILITIES

__all__ = ["KVM_CAP_DISABLE_QUIRKS2", "KVM_X86_QUIRK_STUFF_FEATURE_MSRS", "Fault", "Kvm", "Patch", "Vcpu", "Vm", "Word"]

#: Source: Linux 7.1.5 include/uapi/linux/kvm.h, arch/x86/include/uapi/asm/kvm.h
KVM_CAP_DISABLE_QUIRKS2: Final = 213
KVM_X86_QUIRK_STUFF_FEATURE_MSRS: Final = 1 << 8

#: "KVM: x86: Track supported ARCH_CAPABILITIES in kvm_caps" (May 2023), which never landed: v1 computes the value once
#: when the module is loaded; v2 too, but its bit 3 follows vmentry_l1d_flush.
Patch = Literal["v1", "v2"]

#: What vmentry_l1d_flush can be set to. Source: Linux arch/x86/kvm/vmx/vmx.c vmentry_l1d_param
_L1D_FLUSH: Final = ("auto", "never", "cond", "always")
#: What every kernel takes for yes and no, by how it starts; t and f newer ones only. Source: Linux lib/kstrtox.c
_YES: Final = ("y", "Y", "1", "on", "On", "oN", "ON")
_NO: Final = ("n", "N", "0", "of", "Of", "oF", "OF")
_PARAMETERS: Final = ("vmentry_l1d_flush", "ept", "ignore_msrs")
_SKIP: Final = "skip_l1dfl_vmentry"
_SKIP_OFFER: Final = (f"kvm.kvm_get_arch_capabilities[{_SKIP}]",)


class Kvm:
    """The KVM of `host`, or of that host under another `kernel` release.

    `parameters` of its modules, by name as below /sys/module/kvm*/parameters, go before those that the snapshot has;
    one that neither has is unknown. `patch`: the value that KVM offers is computed as a patch that never landed does.
    What the snapshot says was observed of this KVM (what it offers, what a scratch vCPU took) goes before the rules.
    `strict`: nothing is supposed of a kernel release that was not read.

    Raises:
        InputError: `kernel` is not a kernel release, or a parameter is not modelled.
    """

    def __init__(
        self,
        host: Snapshot,
        kernel: str | None = None,
        parameters: Mapping[str, str] | None = None,
        patch: Patch | None = None,
        *,
        strict: bool = False,
    ) -> None:
        if patch not in (None, "v1", "v2"):
            raise InputError(f"unknown patch {patch!r} (expected v1, v2 or None)", "Kvm")
        self.host = host if kernel is None else overlay(host, InlineMachine("host", kernel=kernel))
        for name in parameters or {}:
            _check_parameter(name)
        had = self.host.kvm.parameters
        differ = [name for name, value in (parameters or {}).items() if had.get(name, value) != value]
        self._with_parameters(parameters or {})
        self.patch, self._strict = patch, strict
        #: Whether something was changed since what the snapshot says was observed.
        self.changed = bool(differ)
        without = _SKIP_OFFER if "vmentry_l1d_flush" in differ else ()
        self.reader = KvmReader(self.host, without, strict=strict)
        self.tries = Tries(self.host)
        self._contradicted: dict[bool, bool] = {}
        self._now: Word | None = None
        self._cached = self._offer()

    def _with_parameters(self, parameters: Mapping[str, str]) -> None:
        kvm = replace(self.host.kvm, parameters={**self.host.kvm.parameters, **parameters})
        self.host = replace(self.host, kvm=kvm)

    # --- /dev/kvm -------------------------------------------------------------------------------------------------

    @property
    def supported_arch_cap(self) -> Word:
        """The value of MSR 0x10a that KVM offers to userspace now (source: kvm_get_arch_capabilities)."""
        if self.patch == "v1":
            return self._cached
        if self.patch == "v2":
            mask, now = ARCH_CAPABILITIES[_SKIP].mask, self._offer()
            cached = self._cached
            return Word(cached.value & ~mask | now.value & mask, cached.known & ~mask | now.known & mask)
        return self._offer()

    def get_msrs(self, indices: Sequence[int]) -> list[Word] | None:
        """KVM_GET_MSRS on /dev/kvm: the feature MSRs up to the first that is none; of those modelled only 0x10a is one.

        None: how many are read is unknown (ignore_msrs lets any be read, as 0).

        Raises:
            InputError: an MSR is not modelled.
        """
        found = []
        for index in indices:
            if index not in MODELLED_MSRS:
                raise InputError(f"MSR {index:#x} is not modelled")
            if index == ARCH_CAP:
                found.append(self.supported_arch_cap)
                continue
            fails = self.reader.value(kvm_msrs.unsupported_msr_faults(KVM))
            if fails is None:
                return None
            if fails:
                break
            found.append(Word(0))
        return found

    def get_msr_feature_index_list(self) -> dict[int, bool | None]:
        """KVM_GET_MSR_FEATURE_INDEX_LIST: whether it names each MSR that is modelled."""
        return {index: index == ARCH_CAP for index in MODELLED_MSRS}

    def get_msr_index_list(self) -> dict[int, bool | None]:
        """KVM_GET_MSR_INDEX_LIST, the MSRs to save: whether it names each MSR that is modelled; None: unknown."""
        named: dict[int, bool | None] = self.get_msr_feature_index_list()
        return named | {TSX_CTRL: self.reader.value(kvm_msrs.saves_tsx_ctrl(KVM)), MCU_OPT_CTRL: False}

    def get_supported_cpuid(self) -> dict[str, bool | None]:
        """KVM_GET_SUPPORTED_CPUID: whether KVM offers each bit whose offer is modelled, by name; None: unknown."""
        return {name: self.reader.value(kvm_get_supported_cpuid(KVM, name)) for name in OFFERED_CPUID}

    def create_vm(self) -> Vm:
        """KVM_CREATE_VM."""
        return Vm(self)

    def vcpu(self, arch_capabilities: int | None, guest: Snapshot | None = None) -> Vcpu:
        """Return a vCPU whose MSR 0x10a userspace set to `arch_capabilities` (u64; None: its CPUID hides the MSR).

        Its CPUID is that of `guest`, where one is given, with ARCH_CAPABILITIES as the value says.

        Raises:
            InputError: the value does not fit in 64 bits.
        """
        names = set(guest.cpuid.shown) if guest is not None and guest.cpuid is not None else set[str]()
        vcpu = self.create_vm().create_vcpu()
        vcpu.set_cpuid2(
            names - {"arch_capabilities"} | ({"arch_capabilities"} if arch_capabilities is not None else set())
        )
        if arch_capabilities is not None:
            vcpu.set_msrs({ARCH_CAP: arch_capabilities})
        return vcpu

    # --- what root can change -------------------------------------------------------------------------------------

    @property
    def flushes_l1d(self) -> bool | None:
        """Whether KVM flushes the L1D at VM entry, always or where it has to (source: vmx_setup_l1d_flush)."""
        return self.reader.value(kvm_vmx_entry.vmx_l1d_should_flush(KVM))

    def set_parameter(self, name: str, value: str) -> bool | None:
        """Write a parameter of KVM's modules while they are loaded; return whether KVM takes it, None: unknown.

        vmentry_l1d_flush and ignore_msrs can be written. On a host without L1TF, without EPT or that need not flush,
        a write to the former is taken and has no effect.

        Raises:
            InputError: no such parameter is modelled, or it does not exist on this host.
        """
        _check_parameter(name)
        value = value.removesuffix("\n")
        taken = self._takes(name, value)
        if taken is False:
            return False
        if name == "ignore_msrs":
            value = "Y" if value.startswith(_YES) else "N"
        before = self.supported_arch_cap if self.patch is None else self._offer()
        if taken:
            self._with_parameters({name: value})
        else:
            left = {key: held for key, held in self.host.kvm.parameters.items() if key != name}
            self.host = replace(self.host, kvm=replace(self.host.kvm, parameters=left))
        # Without effect, what was observed still holds.
        effect = (
            name == "vmentry_l1d_flush" and self.reader.value(kvm_offer.l1tf_vmx_mitigation_needed(KVM)) is not False
        )
        self.reader, self._now = KvmReader(self.host, _SKIP_OFFER if effect else (), strict=self._strict), None
        self.changed = self.changed or name == "ignore_msrs" or self._offer() != before
        return taken

    def _takes(self, name: str, value: str) -> bool | None:
        if name == "ept":
            return False  # its file cannot be written
        if name == "ignore_msrs":
            return True if value.startswith(_YES + _NO) else None if value[:1] in tuple("tTfF") else False
        kernel, ask = KVM.kernel, self.reader.value
        if ask(kvm_offer.on_svm(KVM)):
            raise InputError("vmentry_l1d_flush is a parameter of kvm_intel, which this host does not load", "Kvm")
        if value in _L1D_FLUSH:
            return True
        # Built without mitigations, newer kernels take anything.
        return ask(kernel.l1tf_never_if_compiled_out & kernel.mitigations_compiled_out)

    def late_microcode(self, arch_capabilities: int) -> None:
        """Load microcode late: the host's MSR 0x10a is `arch_capabilities` (u64) from now on.

        The kernel's own conclusions stay those of boot. The offer follows where KVM reads the register each time
        (up to 6.5), and stays as it was where KVM read it once when its module was loaded (from 6.6).

        Raises:
            InputError: the value does not fit in 64 bits.
        """
        number(arch_capabilities, 64, "late_microcode")
        again = self.reader.value(kvm_msrs.host_arch_cap_read_anew(KVM))
        if again is not False:
            now = self._with_host_register(arch_capabilities)
            old = self._offer()
            agree = old.known & now.known & ~(old.value ^ now.value)
            self._now = now if again else Word(now.value & agree, agree)
            self.changed = True

    def _with_host_register(self, register: int) -> Word:
        """Return the offer with another host register: ((H & mask) | forced on) & ~forced off."""
        value = known = 0
        for name, bit in ARCH_CAPABILITIES.items():
            mask, on, off = (
                self.reader.value(rule(KVM, name))
                for rule in (kvm_offer.in_mask, kvm_offer.forced_on, kvm_offer.forced_off)
            )
            passed = mask if register & bit.mask else False
            has = True if on or passed else None if None in (on, passed) else False
            offered = False if off or has is False else None if None in (off, has) else True
            known |= 0 if offered is None else bit.mask
            value |= bit.mask if offered else 0
        return Word(value, known)

    def _offer(self) -> Word:
        """Return what kvm_get_arch_capabilities computes now."""
        if self._now is None:
            self._now = self.reader.word({name: kvm_get_arch_capabilities(KVM, name) for name in ARCH_CAPABILITIES})
        return self._now

    # --- observed against modelled --------------------------------------------------------------------------------

    def contradicted(self, shown: bool) -> bool:
        """Return whether a scratch vCPU with the CPUID bit, or without, did something that the rules rule out.

        What the rules say of other values is then not taken either: it is unknown.
        """
        if shown not in self._contradicted:
            self._contradicted[shown] = False  # while the rules alone are asked
            self._contradicted[shown] = bool(differences(self, shown))
        return self._contradicted[shown]

    def modelled(self) -> Kvm:
        """Return the same KVM with nothing observed: what the rules alone say."""
        bare = replace(self.host, kvm=replace(self.host.kvm, offered={}, vcpu_initial=None, accepts=[]))
        return Kvm(bare, patch=self.patch, strict=self._strict)


def differences(kvm: Kvm, shown: bool) -> list[tuple[int, str, str]]:
    """Return (value set, observed, modelled) where a scratch vCPU did something else than the rules say."""
    tries = kvm.tries.of[shown]
    if not tries:
        return []
    vcpu = kvm.modelled().create_vm().create_vcpu()
    vcpu.set_cpuid2(["arch_capabilities"] if shown else [])
    found = []
    for one in tries:
        value, read = number(one.set, 64, "kvm.accepts"), kvm.tries.read(one)
        accepted = vcpu.set_msrs({ARCH_CAP: value})
        gets = vcpu.get_msrs([ARCH_CAP])
        modelled = gets[0] if gets else None
        other = read is not None and modelled is not None and modelled.may_be(read.value) is False
        if (accepted is not None and bool(accepted) is not one.accepted) or other:
            told = "" if read is None else f", reads back {read}"
            said = "" if modelled is None else f", reads back {modelled}"
            found.append((value, _taken(one.accepted) + told, _taken(accepted) + said))
    return found


def _taken(accepted: int | None) -> str:
    return "unknown" if accepted is None else "accepted" if accepted else "rejected"


class Vm:
    """One virtual machine: its quirks, and the vCPUs that it makes."""

    def __init__(self, kvm: Kvm) -> None:
        self.kvm = kvm
        self.stuff_feature_msrs: bool | None = True

    def enable_cap(self, capability: int, argument: int) -> bool | None:
        """KVM_ENABLE_CAP of KVM_CAP_DISABLE_QUIRKS2 with KVM_X86_QUIRK_STUFF_FEATURE_MSRS; return whether KVM takes it.

        KVMs that do not know the quirk refuse it. vCPUs that are made afterwards start with 0 in MSR 0x10a.

        Raises:
            InputError: another capability or quirk, which is not modelled.
        """
        if capability != KVM_CAP_DISABLE_QUIRKS2 or argument != KVM_X86_QUIRK_STUFF_FEATURE_MSRS:
            raise InputError(
                f"capability {capability} with {argument:#x} is not modelled (expected KVM_CAP_DISABLE_QUIRKS2 with "
                "KVM_X86_QUIRK_STUFF_FEATURE_MSRS)", "enable_cap",
            )  # fmt: skip
        known = self.kvm.reader.value(KVM.kernel.stuff_feature_msrs_quirk)
        if known is not False:
            self.stuff_feature_msrs = False if known else None
        return known

    def create_vcpu(self) -> Vcpu:
        """KVM_CREATE_VCPU."""
        return Vcpu(self)


def _check_parameter(name: str) -> None:
    if name not in _PARAMETERS:
        known = ", ".join(_PARAMETERS)
        raise InputError(f"unknown parameter {name!r}{nearest(name, _PARAMETERS)} (expected one of {known})", "Kvm")
