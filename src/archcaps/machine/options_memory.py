"""Boot options and configuration against data sampling, Meltdown and L1TF, and of TSX and KVM.

Source: Linux 5.10.265, 6.6.150, 6.12.117, 6.16.1, 7.1.5 arch/x86/kernel/cpu/bugs.c, tsx.c; arch/x86/mm/pti.c.
"""

from __future__ import annotations

from archcaps.machine.given_options import Options, Values
from archcaps.machine.l1tf import L1TF_WITHOUT_SMT, l1tf_choices

__all__ = ["memory_values"]


def memory_values(options: Options) -> Values:
    """Return the look-ups of this theme."""
    return _gds(options) | _srbds(options) | _l1tf(options) | _pti(options) | _tsx(options) | _kvm(options)


def _gds(options: Options) -> Values:
    """GDS: its option, or what the kernel is built with (6.12 and later: off; 6.6 and before: forced)."""
    chosen = options.line.last("gather_data_sampling", ("off", "force"))
    if chosen:
        return {"gds_off": chosen == "off", "gds_force": chosen == "force"}
    force = options.behaviours.get("gds_force_config")
    built = options.built("GDS_FORCE_MITIGATION")
    return {
        "gds_off": options.compiled_off("MITIGATION_GDS", options.behaviours.get("mitigation_configs")),
        "gds_force": False if force is False else built if force is None or built is None else built and force,
    }


def _srbds(options: Options) -> Values:
    """SRBDS: any value but off takes an earlier off back; compiled off is looked at elsewhere."""
    can_be = options.behaviours.get("mitigation_configs")
    return {
        "srbds_off": options.line.last("srbds") == "off",
        "srbds_compiled_off": options.compiled_off("MITIGATION_SRBDS", can_be),
    }


def _l1tf(options: Options) -> Values:
    """Whether the kernel's choice against L1TF takes SMT away."""
    without = {choice in L1TF_WITHOUT_SMT for choice in l1tf_choices(options)}
    return {"l1tf_nosmt": without.pop() if len(without) == 1 else None}


def _pti(options: Options) -> Values:
    """Page table isolation is off: by option, by mitigations=, or because the kernel is built without it.

    Until 6.6 pti=on and pti=auto beat nopti and mitigations=off, wherever they stand. Since then the last of them
    decides; until 6.16 mitigations=off beats it, from 6.17 it only takes the user-to-kernel vector out of the default.
    Source: Linux 6.6.150, 6.12.33, 6.16.1, 7.1.5 arch/x86/mm/pti.c pti_check_boottime_disable.
    """
    built = options.built("MITIGATION_PAGE_TABLE_ISOLATION", "PAGE_TABLE_ISOLATION")
    words = options.line.words()
    searched = next((word[4:] for word in reversed(words) if word.startswith("pti=")), "")
    state = "auto"
    for name, value in options.line.options:
        if name == "nopti":
            state = "off"
        elif name == "pti" and value in ("off", "on", "auto"):
            state = value
    old, new = (options.line.mitigations(attack_vectors=vectors) for vectors in (False, True))

    def off(vectors: bool) -> bool | None:
        if vectors:
            return state == "off" or (state == "auto" and "user_kernel" in new.removed)
        stays = searched == "off" or (searched not in ("on", "auto") and ("nopti" in words or old.off))
        return options.agreed("pti_option_stays", lambda beats: stays if beats else state == "off" or old.off)

    by_option = options.agreed("attack_vectors", off)
    return {"pti_off": True if by_option or built is False else None if built is None else by_option}


def _kvm(options: Options) -> Values:
    """KVM on Intel: built or not, and whether it would split huge pages (kvm.nx_huge_pages, auto by default)."""
    chosen = options.line.last("kvm.nx_huge_pages")
    splits: bool | None
    if chosen in ("", "auto"):
        splits = options.mitigations(lambda given: not given.off)
    else:
        splits = {"on": True, "force": True, "Y": True, "y": True, "1": True}.get(
            chosen, False if chosen in ("off", "never", "N", "n", "0") else None
        )
    return {"kvm_intel_built": options.built("KVM_INTEL", "KVM") if options.built("KVM") is False
            else options.built("KVM_INTEL"), "kvm_splits_huge_pages": splits}  # fmt: skip


def _tsx(options: Options) -> Values:
    """tsx=: on, off or auto; any other value is off; without it the configuration's default.

    Unlike the others it is searched for in the whole command line, even behind ``--`` (cmdline_find_option).
    """
    given = [word.removeprefix("tsx=") for word in options.line.words() if word.startswith("tsx=")]
    if given:
        return {"tsx_on": given[-1] == "on", "tsx_auto": given[-1] == "auto"}
    config = options.config
    modes = {
        mode: None if config is None else config.get(f"X86_INTEL_TSX_MODE_{mode}") for mode in ("ON", "AUTO", "OFF")
    }
    if "y" in modes.values():
        return {"tsx_on": modes["ON"] == "y", "tsx_auto": modes["AUTO"] == "y"}
    # A named configuration says nothing of TSX: it has what the release's Kconfig has.
    default = options.behaviours.get("tsx_auto_by_default") if config is not None else None
    return {"tsx_on": False if config is not None else None, "tsx_auto": default}
