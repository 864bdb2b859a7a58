"""Boot options and configuration of the mitigations around branch prediction, as the named booleans that rules read.

How an option is read depends on the kernel: the newer ones read each where it stands, and skip values that they do not
know; the older ones look for the last one, and take a value that they do not know for the default (spectre_v2=,
spectre_v2_user= and spec_store_bypass_disable= until 6.17).
Source: Linux 5.4.301, 5.10.265, 6.1.192, 6.12.117, 6.16.1, 6.17.0, 7.1.5 arch/x86/kernel/cpu/bugs.c *_parse_cmdline;
kernel/cpu.c mitigations_parse_cmdline; arch/x86/lib/cmdline.c.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Final

from archcaps.machine.cmdline import parse

__all__ = ["BRANCH_BEHAVIOURS", "BRANCH_LOOKUPS", "branch_option_values"]

#: Behaviours that decide how options are read.
BRANCH_BEHAVIOURS: Final = (
    "options_are_early", "mitigation_configs", "names_eibrs_modes", "has_retbleed", "mitigates_retbleed_on_amd",
    "knows_retbleed_stuff", "knows_its_stuff", "knows_bhi_vmexit", "spectre_v2_user_off_by_default",
)  # fmt: skip
_SPECTRE_V2: Final = {
    "spectre_v2_off": ("off",),
    "spectre_v2_on": ("on",),
    "spectre_v2_retpoline": ("retpoline",),
    "spectre_v2_retpoline_generic": ("retpoline,generic",),
    "spectre_v2_retpoline_lfence": ("retpoline,amd", "retpoline,lfence"),
    "spectre_v2_eibrs": ("eibrs",),
    "spectre_v2_eibrs_lfence": ("eibrs,lfence",),
    "spectre_v2_eibrs_retpoline": ("eibrs,retpoline",),
    "spectre_v2_ibrs": ("ibrs",),
}
_OLD_SPECTRE_V2: Final = ("off", "on", "retpoline", "retpoline,amd", "retpoline,generic", "auto")
_SPECTRE_V2_USER: Final = {
    "spectre_v2_user_off": ("off",),
    "spectre_v2_user_on": ("on",),
    "spectre_v2_user_prctl": ("prctl", "seccomp"),
    "spectre_v2_user_ibpb": ("prctl,ibpb", "seccomp,ibpb"),
}
_SSB: Final = {"ssb_off": ("off",), "ssb_on": ("on",), "ssb_prctl": ("prctl",), "ssb_seccomp": ("seccomp",)}
_SRSO: Final = {
    "srso_off": "off",
    "srso_microcode": "microcode",
    "srso_safe_ret": "safe-ret",
    "srso_ibpb": "ibpb",
    "srso_ibpb_vmexit": "ibpb-vmexit",
}
_RETBLEED: Final = ("off", "auto", "unret", "ibpb", "stuff")
#: What is built in, by the names that the item has and had.
_BUILT: Final = {
    "built_retpoline": ("MITIGATION_RETPOLINE", "RETPOLINE"),
    "built_rethunk": ("MITIGATION_RETHUNK", "RETHUNK"),
    "built_ibrs_entry": ("MITIGATION_IBRS_ENTRY", "CPU_IBRS_ENTRY"),
    "built_unret_entry": ("MITIGATION_UNRET_ENTRY", "CPU_UNRET_ENTRY"),
    "built_ibpb_entry": ("MITIGATION_IBPB_ENTRY", "CPU_IBPB_ENTRY"),
    "built_srso": ("MITIGATION_SRSO", "CPU_SRSO"),
    "built_call_depth_tracking": ("MITIGATION_CALL_DEPTH_TRACKING", "CALL_DEPTH_TRACKING"),
    "built_seccomp": ("SECCOMP",),
    "built_aligned_functions": ("DEBUG_FORCE_FUNCTION_ALIGN_64B",),
}
_Given = list[tuple[str, str]]


def branch_option_values(
    cmdline: str | None, config: Mapping[str, str] | None, behaviours: Mapping[str, bool | None]
) -> dict[str, bool | None]:
    """Return the kernel look-ups of `BRANCH_LOOKUPS` that the command line and the configuration decide.

    `cmdline` None: not known. `behaviours` are those of the kernel's release; where they leave open how options are
    read, a look-up is known if every way agrees.
    """
    values = _built(config)
    if cmdline is None:
        return dict.fromkeys(BRANCH_LOOKUPS) | values
    given = [(name, value or "") for name, value in parse(cmdline).options]
    known = [behaviours.get(name) for name in BRANCH_BEHAVIOURS]
    ways = product(*((False, True) if value is None else (value,) for value in known))
    found = [_read(cmdline, given, config, dict(zip(BRANCH_BEHAVIOURS, way, strict=True))) for way in ways]
    return {name: _agreed(each[name] for each in found) for name in found[0]} | values


def _agreed(values: Iterable[bool | None]) -> bool | None:
    different = set(values)
    return different.pop() if len(different) == 1 else None


def _built(config: Mapping[str, str] | None) -> dict[str, bool | None]:
    items = config or {}

    def built(names: tuple[str, ...]) -> bool | None:
        return next((items[name] in ("y", "m") for name in names if name in items), None)

    default_off = items.get("BPF_UNPRIV_DEFAULT_OFF")
    unprivileged = None if default_off is None else default_off == "n"
    return {name: built(names) for name, names in _BUILT.items()} | {
        "unprivileged_bpf": False if items.get("BPF_SYSCALL") == "n" else unprivileged
    }


def _read(
    cmdline: str, given: _Given, config: Mapping[str, str] | None, kernel: Mapping[str, bool]
) -> dict[str, bool | None]:
    """Return the look-ups for a kernel whose way of reading options is known."""
    early = kernel["options_are_early"]
    names = {name for name, _ in given}
    words = parse(cmdline).words()

    def chosen(option: str, valid: Iterable[str], negation: str = "") -> str:
        """The value that counts, or nothing; "off" where the option's negation is given."""
        if negation and (negation in names if early else negation in words):
            return "off"
        if early:
            return next((value for name, value in reversed(given) if name == option and value in valid), "")
        last = next((word.partition("=")[2] for word in reversed(words) if word.startswith(f"{option}=")), "")
        return last if last in valid else ""

    def compiled_off(item: str, *, can_be: bool = True) -> bool | None:
        if not can_be:
            return False
        return None if config is None or item not in config else config[item] == "n"

    configurable = kernel["mitigation_configs"]
    values: dict[str, bool | None] = {
        "spectre_v1_off": "nospectre_v1" in names or compiled_off("MITIGATION_SPECTRE_V1", can_be=configurable)
    }
    spectre_v2 = compiled_off("MITIGATION_SPECTRE_V2", can_be=configurable)
    values |= _one_of(_SPECTRE_V2, chosen("spectre_v2", _modes(kernel), "nospectre_v2"), spectre_v2)
    values["spectre_v2_forced"] = early and _spectre_v2_on_is_read(given)
    user_off = True if kernel["spectre_v2_user_off_by_default"] else spectre_v2
    user = ("auto", *(value for accepted in _SPECTRE_V2_USER.values() for value in accepted))
    values |= _one_of(_SPECTRE_V2_USER, chosen("spectre_v2_user", user), user_off)
    ssb = chosen("spec_store_bypass_disable", ("auto", "off", "on", "prctl", "seccomp"), "nospec_store_bypass_disable")
    values |= _one_of(_SSB, ssb, compiled_off("MITIGATION_SSB", can_be=configurable))
    values |= _retbleed(given, kernel, compiled_off("MITIGATION_RETBLEED", can_be=configurable))
    values |= _its(given, kernel, compiled_off("MITIGATION_ITS"))
    last_srso = _last(given, "spec_rstack_overflow", _SRSO.values())
    values |= {name: last_srso == value for name, value in _SRSO.items()}
    vmscape = _last(given, "vmscape", ("off", "ibpb", "force"))
    values["vmscape_off"] = vmscape == "off" or (not vmscape and compiled_off("MITIGATION_VMSCAPE"))
    values["vmscape_ibpb"] = vmscape == "ibpb"
    values["vmscape_forced"] = ("vmscape", "force") in given
    bhi = _last(given, "spectre_bhi", ("off", "on", *(["vmexit"] if kernel["knows_bhi_vmexit"] else ["auto"])))
    # The first kernels with it were built with one of three defaults; where a configuration does not say so it is "on".
    built = {} if config is None else {way: config.get(f"SPECTRE_BHI_{way.upper()}") == "y" for way in ("off", "auto")}
    off = built.get("off") or compiled_off("MITIGATION_SPECTRE_BHI")
    values["bhi_off"] = bhi == "off" or (not bhi and off)
    values["bhi_auto"] = bhi == "auto" or (not bhi and built.get("auto"))
    values |= {"bhi_on": bhi == "on", "bhi_vmexit": bhi == "vmexit"}
    values["nosmt_force"] = ("nosmt", "force") in given
    return values


def _spectre_v2_on_is_read(given: _Given) -> bool:
    """Whether spectre_v2=on stands before any nospectre_v2, behind which spectre_v2= is passed over."""
    first = next((pair for pair in given if pair[0] == "nospectre_v2" or pair == ("spectre_v2", "on")), None)
    return first == ("spectre_v2", "on")


def _modes(kernel: Mapping[str, bool]) -> tuple[str, ...]:
    if not kernel["names_eibrs_modes"]:
        return _OLD_SPECTRE_V2
    modes = [value for values in _SPECTRE_V2.values() for value in values]
    return tuple(mode for mode in ("auto", *modes) if mode != "ibrs" or kernel["has_retbleed"])


def _one_of(names: Mapping[str, tuple[str, ...]], chosen: str, default_off: bool | None) -> dict[str, bool | None]:
    """Return which of the look-ups the chosen value means; without one, the first (off) as it was compiled."""
    values: dict[str, bool | None] = {name: chosen in accepted for name, accepted in names.items()}
    if not chosen:
        values[next(iter(names))] = default_off
    return values


def _last(given: _Given, option: str, valid: Iterable[str]) -> str:
    """Return the last value of an early parameter that the kernel knows, or nothing."""
    known = tuple(valid)
    return next((value for name, value in reversed(given) if name == option and value in known), "")


def _retbleed(given: _Given, kernel: Mapping[str, bool], compiled: bool | None) -> dict[str, bool | None]:
    """retbleed=: words between commas, of which the last of each kind counts; 5.4 takes off and auto alone."""
    values = [value for name, value in given if name == "retbleed"]
    words = [word for value in values for word in value.split(",")] if kernel["mitigates_retbleed_on_amd"] else values
    known = [word for word in _RETBLEED if word != "stuff" or kernel["knows_retbleed_stuff"]]
    if not kernel["mitigates_retbleed_on_amd"]:
        known = ["off", "auto"]
    last = next((word for word in reversed(words) if word in known), "")
    return {
        "retbleed_off": last == "off" or (not last and compiled),
        "retbleed_unret": last == "unret",
        "retbleed_ibpb": last == "ibpb",
        "retbleed_stuff": last == "stuff",
        "retbleed_nosmt": kernel["mitigates_retbleed_on_amd"] and "nosmt" in words,
        "retbleed_forced": kernel["knows_retbleed_stuff"] and "force" in words,
    }


def _its(given: _Given, kernel: Mapping[str, bool], compiled: bool | None) -> dict[str, bool | None]:
    """indirect_target_selection=: a kernel that is built without the mitigation takes no value."""
    known = ("off", "on", "force", "vmexit", *(["stuff"] if kernel["knows_its_stuff"] else []))
    last = _last(given, "indirect_target_selection", known)
    if compiled is not False and last:
        off: bool | None = True if compiled or last == "off" else None
    else:
        off = last == "off" or compiled
    return {
        "its_off": off,
        "its_on": last in ("on", "force"),
        "its_vmexit": last == "vmexit",
        "its_stuff": last == "stuff",
        "its_forced": ("indirect_target_selection", "force") in given and (None if compiled is None else not compiled),
    }


BRANCH_LOOKUPS: Final = tuple(
    _read("", [], None, dict.fromkeys(BRANCH_BEHAVIOURS, False)) | dict.fromkeys((*_BUILT, "unprivileged_bpf"))
)
