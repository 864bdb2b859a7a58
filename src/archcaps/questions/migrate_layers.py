"""What each program on a guest's way to another host says: KVM, and the VMM that runs the guest there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from archcaps.guest_cpu.qemu.supported import IMMUNE
from archcaps.guest_cpu.qemu.warnings import in_order, warnings
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.kvm import Kvm
from archcaps.questions.migrate_guest import names_shown, stored_word
from archcaps.questions.migrate_move import LIBVIRT_FAMILY, Move
from archcaps.questions.migrate_results import Accepts, LayerAnswer
from archcaps.questions.migrate_support import QEMU_FAMILY
from archcaps.questions.reader import Reader
from archcaps.questions.vcpu import ARCH_CAP, TSX_CTRL
from archcaps.questions.word import ALL, Word
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS
from archcaps.tables.cpu_features import cpu_feature
from archcaps.tables.names import STRICT
from archcaps.tables.qemu import RECORDED, holds, parse_release

__all__ = ["accepted", "kvm_takes", "layers_of"]

#: Up to so many bits are named in a sentence.
_LISTED: Final = 5
_KVM: Final = "Linux arch/x86/kvm/x86.c kvm_set_msr_common, read from 5.10 to 7.1"
_QEMU: Final = "QEMU target/i386/cpu.c x86_cpu_filter_features; target/i386/kvm/kvm.c kvm_init_msrs"
_LIBVIRT: Final = "libvirt src/cpu/cpu_x86.c virCPUx86UpdateLive"
_FIRECRACKER: Final = (
    "Firecracker 81b38b9da src/vmm/src/arch/x86_64/vcpu.rs restore_state; msr.rs, vcpu.rs msrs_to_save"
)
_CLOUD_HYPERVISOR: Final = (
    "Cloud Hypervisor ae44c2971 vmm/src/lib.rs vm_check_cpuid_compatibility; arch/src/x86_64/mod.rs"
)
_HT: Final = "ht_of_threads"
#: Cloud Hypervisor compares these CPUID words bit by bit; not 80000008 and 80000021.
_COMPARED_BY_CLOUD_HYPERVISOR: Final = (
    "cpuid_1_ecx", "cpuid_7_0_ebx", "cpuid_7_0_ecx", "cpuid_7_0_edx", "cpuid_7_2_edx", "cpuid_80000001_ecx",
)  # fmt: skip


def layers_of(move: Move) -> list[LayerAnswer]:
    """Return what each layer says, the VMM's first: what it asks of KVM is what KVM answers to."""
    vmm = move.vmms.vmm
    found = []
    if vmm in QEMU_FAMILY:
        found.append(_qemu(move))
        if vmm in LIBVIRT_FAMILY:
            found.append(_libvirt(move))
    elif vmm == "firecracker":
        found.append(_firecracker(move))
    elif vmm == "cloud-hypervisor":
        found.append(_cloud_hypervisor(move))
    return [*found, _kvm(move)]


def accepted(layers: Iterable[LayerAnswer]) -> Accepts:
    """Return whether all layers take the guest: one that refuses decides, then one of which it is not known."""
    answers = {layer.accepts for layer in layers}
    order: tuple[Accepts, ...] = ("no", "unknown", "changes")
    return next((answer for answer in order if answer in answers), "yes")


# --- KVM ----------------------------------------------------------------------------------------------------------


def kvm_takes(
    host: Snapshot, guest: Snapshot, assumptions: frozenset[str] = frozenset(), *, listed_only: bool = False
) -> bool | None:
    """Return whether the KVM of `host` takes the MSRs that a VMM sets for `guest` after its CPUID; None: unknown.

    `listed_only`: the VMM sets MSR 0x122 only where KVM lists it among those to save, as QEMU does.
    """
    reader = Reader(host, guest, assumptions)
    visible = reader.ternary.value(reader.model.guest.cpu.arch_capabilities)
    names = names_shown(reader) - {"arch_capabilities"}
    kvm = Kvm(host, strict=STRICT in assumptions)
    lists_tsx_ctrl = kvm.get_msr_index_list()[TSX_CTRL] if listed_only else True
    answers = set()
    for shown in (True, False) if visible is None else (visible,):
        for setting in _possible(stored_word(reader)):
            writes = {ARCH_CAP: setting}
            if setting & ARCH_CAPABILITIES["tsx_ctrl"].mask and lists_tsx_ctrl is not False:
                writes[TSX_CTRL] = 0
            vcpu = kvm.create_vm().create_vcpu()
            vcpu.set_cpuid2(names | ({"arch_capabilities"} if shown else set()))
            taken = vcpu.set_msrs(writes)
            answers.add(None if taken is None else taken == len(writes))
    return answers.pop() if len(answers) == 1 else None


def _possible(word: Word) -> set[int]:
    """Return the least and the greatest value of a register: KVM's rule asks whether it is 0, no more."""
    return {word.value, word.value | ~word.known & ALL}


def _kvm(move: Move) -> LayerAnswer:
    if move.same_place:
        return LayerAnswer("KVM", "yes", "it is the KVM that the guest runs on now", "", [], _KVM)
    listed_only = move.vmms.vmm in QEMU_FAMILY
    answers = {kvm_takes(move.to, guest, move.assumptions, listed_only=listed_only) for guest in move.carried}
    answer = answers.pop() if len(answers) == 1 else None
    if answer:
        why = "KVM_SET_MSRS takes any value of MSR 0x10a before the vCPU runs: KVM does not compare it with its offer"
        return LayerAnswer("KVM", "yes", why, "", [], _KVM)
    why = "the guest's CPUID hides MSR 0x10a and its value is not 0: from 6.13 on KVM refuses that"
    if answer is None:
        return LayerAnswer("KVM", "unknown", f"{why}; not known whether that comes to it here", "", [], _KVM)
    message = ""
    word = stored_word(Reader(move.to, move.carried[0], move.assumptions))
    if move.vmms.vmm in QEMU_FAMILY and word.known == ALL:
        message = f"error: failed to set MSR 0x10a to {word.value:#x}"
    bits = ["arch_capabilities"]
    if _tsx_ctrl_refused(move):
        why, message, bits = "it does not keep the guest's MSR 0x122 (TSX_CTRL)", "", ["tsx_ctrl"]
    return LayerAnswer("KVM", "no", why, message, bits, _KVM)


def _tsx_ctrl_refused(move: Move) -> bool:
    """Whether it is MSR 0x122 that KVM refuses, not MSR 0x10a."""
    return move.arrived.ternary.value(move.arrived.model.guest.cpu.arch_capabilities) is True


# --- QEMU and libvirt -----------------------------------------------------------------------------------------------


def _qemu(move: Move) -> LayerAnswer:
    lost, unsure = move.lost, move.unsure
    if move.vmms.passthrough and not move.same_place:
        return _qemu_passthrough(move)
    version = f"QEMU {move.vmms.to_version}" if move.vmms.to_version else "QEMU"
    if unnamed := _unnamed(move):
        names = [BITS[bit].names["qemu"] for bit in unnamed]
        why = f"{version} has no name for {_listed(unnamed)}: a -cpu option, or a model, with it is refused"
        return LayerAnswer("QEMU", "no", why, f"Property '....{names[0]}' not found", unnamed, _QEMU)
    gone = [*lost, *move.features.lost]
    if not gone and not unsure and not (move.enforces and _open_features(move)):
        why = f"{version} can show the guest all that it is shown now{_as_far_as_known(move)}"
        return LayerAnswer("QEMU", "yes", why, "", [], _QEMU)
    if not gone:
        open_ = [*unsure, *move.features.unsure] if move.enforces else unsure
        named = _listed(open_) if open_ else move.features.more
        why = f"not known whether {version} can show the guest {named} there{_version_missing(move)}"
        return LayerAnswer("QEMU", "unknown", why, "", open_, _QEMU)
    why = f"{version} cannot show the guest {_listed(gone)}: {_why_lost(move)}"
    message = _qemu_says(move, gone)
    if move.enforces:
        return LayerAnswer("QEMU", "no", f"{why}; with enforce it exits", message, gone, _QEMU)
    return LayerAnswer("QEMU", "changes", f"{why}; it warns and starts without", message, gone, _QEMU)


def _open_features(move: Move) -> bool:
    """Whether it is not known of a feature that the guest has, or may have, whether it can be given there."""
    return bool(move.features.unsure or move.features.more)


def _as_far_as_known(move: Move) -> str:
    return ", as far as that is known" if move.features.unknown or move.features.more else ""


def _unnamed(move: Move) -> list[str]:
    """Return the bits that the guest is shown by a name which the destination's QEMU does not have."""
    if move.same_place or move.vmms.to_version is None:
        return []
    shown = [bit for bit, on in move.shown.items() if on and "qemu" in BITS[bit].names]
    return [bit for bit in shown if move.goal.named(bit) is False]


def _qemu_passthrough(move: Move) -> LayerAnswer:
    """-cpu host asks for no bit: QEMU takes what there is on each host, and says nothing."""
    differ = [*move.shown_changes, *move.features.lost]
    sure = [*(bit for bit, value in move.shown_changes.items() if value is not None), *move.features.lost]
    if not differ:
        why = f"-cpu host takes what KVM there offers, which is what the guest is shown now{_as_far_as_known(move)}"
        return LayerAnswer("QEMU", "yes", why, "", [], _QEMU)
    why = f"-cpu host takes what KVM there offers, without a word: the guest is shown {_listed(differ)} otherwise"
    return LayerAnswer("QEMU", "changes" if sure else "unknown", why, "", differ, _QEMU)


def _why_lost(move: Move) -> str:
    """Return why QEMU cannot show what is lost: once for all bits that it is the reason of."""
    reasons: dict[str, list[str]] = {}
    for bit in move.lost:
        reasons.setdefault(move.goal.why_not(bit), []).append(bit)
    if move.features.lost:
        reasons.setdefault("KVM there does not offer that", []).extend(move.features.lost)
    parts = [reason if len(reasons) == 1 else f"{_listed(bits)}: {reason}" for reason, bits in reasons.items()]
    if "fb_clear" in move.lost:
        parts.append(_why_no_fb_clear(move))
    return "; ".join(parts)


def _why_no_fb_clear(move: Move) -> str:
    lacking = [bit for bit in IMMUNE if move.goal.offered(bit) is False]
    if lacking:
        are = "is" if len(lacking) == 1 else "are"
        return f"QEMU from 10.1.2 on adds it where KVM offers {_listed(IMMUNE)}: here {_listed(lacking)} {are} missing"
    return "QEMU from 10.1.2 on would add it here, because KVM offers the five NO bits"


def _version_missing(move: Move) -> str:
    return "" if move.vmms.to_version else " (--to-vmm-version would tell)"


def _qemu_says(move: Move, bits: Sequence[str]) -> str:
    """Return QEMU's own warnings for bits, as the version spells them."""
    release = parse_release(move.vmms.to_version or "") or RECORDED[-1]
    return "\n".join(warnings((_qemus_name(bit) for bit in bits), release))


def _qemus_name(bit: str) -> str:
    return BITS[bit].names.get("qemu", bit) if bit in BITS else bit


def _libvirt(move: Move) -> LayerAnswer:
    if not move.libvirt_compares:
        return LayerAnswer(
            "libvirt", "yes", "a host-passthrough CPU with check='none' is not compared", "", [], _LIBVIRT
        )
    lost, unsure = ([bit for bit in bits if _libvirts_name(bit)] for bits in _compared_by_libvirt(move))
    if lost:
        names = ",".join(map(_libvirts_name, lost))
        why = "a running guest's CPU has check='full': what QEMU made there has to be the CPU that the guest has"
        message = f"operation failed: guest CPU doesn't match specification: missing features: {names}"
        return LayerAnswer("libvirt", "no", why, message, lost, _LIBVIRT)
    if _gets_ht(move):
        why = (
            "QEMU from 10.0 on says that the guest has ht, as a package of it has several threads, and libvirt takes "
            "it for a feature too many; a libvirt made for QEMU 10.0 does not (its release notes: Fix incoming "
            "migration to QEMU 10.0.0 and newer): which one runs there was not said"
        )
        message = "operation failed: guest CPU doesn't match specification: extra features: ht"
        return LayerAnswer("libvirt", "unknown", why, message, ["ht"], _LIBVIRT)
    if unsure or move.features.more:
        named = _listed(unsure) if unsure else move.features.more
        why = f"not known whether QEMU gives the guest {named} there; libvirt compares (check='full')"
        return LayerAnswer("libvirt", "unknown", why, "", unsure, _LIBVIRT)
    why = f"the CPU that QEMU makes there is the one that the guest has{_as_far_as_known(move)}"
    return LayerAnswer("libvirt", "yes", why, "", [], _LIBVIRT)


def _compared_by_libvirt(move: Move) -> tuple[list[str], list[str]]:
    """Return what the guest surely loses there and what perhaps, in libvirt's order."""
    lost, unsure = [*move.lost, *move.features.lost], [*move.unsure, *move.features.unsure]
    order = {name: place for place, name in enumerate(in_order(map(_qemus_name, (*lost, *unsure))))}
    return sorted(lost, key=lambda bit: order[_qemus_name(bit)]), sorted(
        unsure, key=lambda bit: order[_qemus_name(bit)]
    )


def _libvirts_name(bit: str) -> str:
    """Return libvirt's name of one of our bits, or of a feature by QEMU's name; empty: it has none."""
    if bit in BITS:
        return BITS[bit].names.get("libvirt", "")
    feature = cpu_feature(bit)
    return "" if feature is None else feature.libvirt


def _gets_ht(move: Move) -> bool:
    """Whether QEMU on the destination says of the guest that it has ht, and the one where it runs does not."""
    home, goal = (parse_release(version or "") for version in (move.vmms.from_version, move.vmms.to_version))
    if goal is None or not holds(_HT, goal) or (home is not None and holds(_HT, home)):
        return False
    has_it = move.vmms.features is not None and move.vmms.features.get("ht")
    return not move.same_place and not has_it and (move.vmms.threads or 0) > 1


# --- Firecracker and Cloud Hypervisor -------------------------------------------------------------------------------


def _firecracker(move: Move) -> LayerAnswer:
    if move.vmms.saved:
        why = "its snapshot holds MSR 0x10a, because the CPU template names it; bits are not compared"
        return LayerAnswer("Firecracker", "yes", why, "", [], _FIRECRACKER)
    differ = list(move.shown_changes)
    if not differ:
        why = "it compares no bits, and a vCPU there is given the same MSR 0x10a"
        return LayerAnswer("Firecracker", "yes", why, "", [], _FIRECRACKER)
    why = (
        "its snapshot holds MSR 0x10a only where the CPU template names it; else a restored vCPU has what KVM there "
        f"offers, which differs in {_listed(differ)}"
        + ("" if move.vmms.saved is False else " (--saves-msr would tell)")
    )
    return LayerAnswer("Firecracker", "changes", why, "", differ, _FIRECRACKER)


def _cloud_hypervisor(move: Move) -> LayerAnswer:
    compared = [bit for bit in (*move.lost, *move.unsure) if BITS[bit].register in _COMPARED_BY_CLOUD_HYPERVISOR]
    lost = [bit for bit in compared if bit in move.lost]
    if lost:
        why = f"the guest's CPUID has to be a subset of what the destination would give: {_listed(lost)} is not in it"
        return LayerAnswer("Cloud Hypervisor", "no", why, "", lost, _CLOUD_HYPERVISOR)
    if compared:
        why = f"not known whether the destination would give {_listed(compared)} in CPUID"
        return LayerAnswer("Cloud Hypervisor", "unknown", why, "", compared, _CLOUD_HYPERVISOR)
    why = "the guest's CPUID is a subset of the destination's; MSR 0x10a is set as it was saved and not compared"
    return LayerAnswer("Cloud Hypervisor", "yes", why, "", [], _CLOUD_HYPERVISOR)


def _listed(bits: Sequence[str]) -> str:
    """Return bits as a person lists them; of many the first, the answer has them all apart."""
    if len(bits) > _LISTED + 1:
        return f"{', '.join(bits[:_LISTED])} and {len(bits) - _LISTED} more"
    return bits[0] if len(bits) == 1 else f"{', '.join(bits[:-1])} and {bits[-1]}"
