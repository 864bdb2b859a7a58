"""A kernel's boot options and configuration, as the named booleans that rules read.

What neither the command line nor the configuration settles is unknown.
Source: Linux 6.1.192, 6.12.117, 6.16.1, 7.1.5 arch/x86/kernel/cpu/bugs.c, tsx.c; kernel/cpu.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from archcaps.errors import InputError, nearest
from archcaps.machine.snapshot import Kernel
from archcaps.tables.files import read_toml

__all__ = [
    "ASSUMED_CONFIG", "config_items", "l1d_flush_state", "l1tf_choices", "module_parameters", "option_values",
]  # fmt: skip

#: The configuration that `--assume default-options` supposes.
ASSUMED_CONFIG: Final = "upstream-defaults"

_VERW: Final = {
    "mds": ("mds", "MITIGATION_MDS", ("off", "full", "full,nosmt")),
    "taa": ("tsx_async_abort", "MITIGATION_TAA", ("off", "full", "full,nosmt")),
    "mmio": ("mmio_stale_data", "MITIGATION_MMIO_STALE_DATA", ("off", "full", "full,nosmt")),
    "rfds": ("reg_file_data_sampling", "MITIGATION_RFDS", ("off", "on")),
}
_TSA: Final = ("off", "on", "user", "vm")
_GDS: Final = ("off", "force")
_L1TF: Final = ("off", "flush", "flush,nowarn", "flush,nosmt", "full", "full,force")
#: Vectors from 6.17 on: what takes each out of mitigations=auto.
_USER: Final = frozenset(("no_user_kernel", "no_user_user"))
_GUEST: Final = frozenset(("no_guest_host", "no_guest_guest"))
_VECTORS: Final = _USER | _GUEST | {"no_cross_thread"}
#: A word of the command line: quotes keep blanks together. Source: Linux lib/cmdline.c next_arg
_WORD: Final = re.compile(r'(?:[^\s"]|"[^"]*"?)+')


def config_items(kernel: Kernel, where: str) -> Mapping[str, str] | None:
    """Return the CONFIG_ items of a kernel, or None where nothing is known of its configuration.

    Raises:
        InputError: the configuration's name is none of the table's.
    """
    if kernel.config is None or isinstance(kernel.config, dict):
        return kernel.config
    known = read_toml("kernel_configs.toml")
    if kernel.config not in known:
        raise InputError(f"unknown kernel configuration {kernel.config!r}{nearest(kernel.config, known)}", where)
    return {key: value for key, value in known[kernel.config].items() if key.isupper()}


def option_values(
    cmdline: str | None, config: Mapping[str, str] | None, behaviours: Mapping[str, bool | None]
) -> dict[str, bool | None]:
    """Return the kernel look-ups that the command line and the configuration decide.

    `cmdline` None: not known. `behaviours` are those of the kernel's release: whether its configuration can switch a
    mitigation off at all, and what it does by default with TSX.
    """
    given = _parse(cmdline)
    values: dict[str, bool | None] = {}
    values["mitigations_off"] = None if given is None else _mitigations(given) == "off"
    for name, (option, item, valid) in _VERW.items():
        chosen = _last(given, option, valid)
        on = chosen not in ("", "off")
        compiled = _compiled_off(config, item, behaviours.get("mitigation_configs") if name != "rfds" else True)
        values[f"{name}_off"] = None if given is None else chosen == "off" or (False if on else compiled)
        values[f"{name}_on"] = None if given is None else on
        if name != "rfds":
            values[f"{name}_nosmt"] = None if given is None else _nosmt(given, option)
    values["mitigations_compiled_out"] = _compiled_out(config)
    values |= _tsa(given, config)
    vectors = _vectors(given, config)
    values |= vectors
    values["gds_off"] = _gds_off(given, config, behaviours, [*vectors.values()])
    values |= _tsx(cmdline, config, behaviours)
    return values


def _parse(cmdline: str | None) -> list[tuple[str, str]] | None:
    """Return (option, value) in the order given; None where the command line is not known.

    What follows a lone ``--`` is init's; in names - and _ are alike (Linux kernel/params.c parse_args, parameq).
    """
    if cmdline is None:
        return None
    found = []
    for word in _WORD.findall(cmdline):
        if word == "--":
            break
        name, _, value = word.replace('"', "").partition("=")
        found.append((name.replace("-", "_"), value))
    return found


def _last(given: Sequence[tuple[str, str]] | None, option: str, valid: Sequence[str]) -> str:
    """Return the last value given for `option` that the kernel knows (it ignores others), or nothing."""
    return next((value for name, value in reversed(given or []) if name == option and value in valid), "")


def _mitigations(given: Sequence[tuple[str, str]]) -> str:
    """Return what mitigations= ends as: ``off``, ``auto`` or ``auto,nosmt``; nothing where it is not given."""
    kinds = [kind for kind, _ in _each_mitigations(given) if kind]
    return kinds[-1] if kinds else ""


def _each_mitigations(given: Sequence[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Yield, for each mitigations= the kernel understands, its kind and the vectors it takes out.

    The vectors end at the first token that is none (kernel/cpu.c mitigations_parse_cmdline, from 6.17).
    """
    for name, value in given:
        if name != "mitigations":
            continue
        kind = next((kind for kind in ("auto,nosmt", "auto", "off") if value.startswith(kind)), "")
        rest = value[len(kind) :]
        if rest and not rest.startswith(","):
            if kind:
                yield kind, []
            continue
        tokens = []
        for token in rest.split(",")[1:]:
            if token not in _VECTORS:
                break
            tokens.append(token)
        if kind or tokens:
            yield kind, tokens


def _nosmt(given: Sequence[tuple[str, str]], option: str) -> bool:
    """Whether SMT goes with this mitigation: its own nosmt, which stays once given, or mitigations=auto,nosmt."""
    own = any(name == option and value == "full,nosmt" for name, value in given)
    return own or _mitigations(given) == "auto,nosmt"


def l1tf_choices(cmdline: str | None, attack_vectors: bool | None) -> frozenset[str]:
    """Return the kernel's L1TF choice, as l1tf= names it and ``auto`` for its default; several where unknown.

    Source: Linux 6.12.117, 6.16.1 (mitigations=off beats l1tf=), 6.17.0 (it only takes the vectors out of the default)
    arch/x86/kernel/cpu/bugs.c l1tf_select_mitigation.
    """
    if cmdline is None:
        return frozenset((*_L1TF, "auto"))
    given = _parse(cmdline) or []
    own = _last(given, "l1tf", _L1TF)
    before = "off" if _mitigations(given) == "off" else own or "auto"
    off = any(kind == "off" for kind, _ in _each_mitigations(given))
    removed = {token for _, tokens in _each_mitigations(given) for token in tokens}
    since = own or ("off" if off or removed >= {"no_user_kernel", "no_guest_host"} else "auto")
    if attack_vectors is None:
        return frozenset((before, since))
    return frozenset((since if attack_vectors else before,))


def l1d_flush_state(parameter: str | None, l1tf: str) -> str | None:
    """Return when kvm_intel flushes the L1D on a host that needs it: never, cond or always; None where unknown.

    `parameter` is vmentry_l1d_flush, `l1tf` the kernel's choice. Source: Linux 7.1.5 arch/x86/kvm/vmx/vmx.c
    __vmx_setup_l1d_flush.
    """
    if l1tf == "full,force":
        return "always"
    return {"off": "never", "full": "always"}.get(l1tf, "cond") if parameter == "auto" else parameter


def module_parameters(cmdline: str | None) -> dict[str, str]:
    """Return the parameters of KVM's modules that archcaps knows: the command line's, else those they are built with.

    Nothing where the command line is not known. Source: Linux arch/x86/kvm/x86.c, vmx/vmx.c; kernel/module/main.c (the
    command line's `kvm_intel.ept=0`); lib/kstrtox.c (a parameter without a value is on).
    """
    given = _parse(cmdline)
    if given is None:
        return {}
    found = {"vmentry_l1d_flush": "auto", "ept": "Y", "ignore_msrs": "N"}
    for name, value in given:
        module, _, parameter = name.partition(".")
        if parameter in found and module == ("kvm" if parameter == "ignore_msrs" else "kvm_intel"):
            found[parameter] = value or "Y"
    return found


def _compiled_out(config: Mapping[str, str] | None) -> bool | None:
    """Whether the kernel was built without CPU mitigations; with any one of them it was not (arch/x86/Kconfig)."""
    if config is not None and any(item.startswith("MITIGATION_") and value == "y" for item, value in config.items()):
        return False
    return _compiled_off(config, "CPU_MITIGATIONS", True)


def _compiled_off(config: Mapping[str, str] | None, item: str, can_be: bool | None) -> bool | None:
    """Whether the kernel was built with this mitigation off."""
    if can_be is False:
        return False
    return config[item] == "n" if config is not None and item in config else None


def _tsa(given: list[tuple[str, str]] | None, config: Mapping[str, str] | None) -> dict[str, bool | None]:
    if given is None:
        return {"tsa_off": None, "tsa_on": None, "tsa_user": None, "tsa_vm": None}
    chosen = _last(given, "tsa", _TSA)
    compiled = False if chosen in ("on", "user", "vm") else _compiled_off(config, "MITIGATION_TSA", True)
    return {
        "tsa_off": chosen == "off" or compiled,
        "tsa_on": chosen == "on",
        "tsa_user": chosen == "user",
        "tsa_vm": chosen == "vm",
    }


def _gds_off(
    given: list[tuple[str, str]] | None,
    config: Mapping[str, str] | None,
    behaviours: Mapping[str, bool | None],
    no_vectors: Sequence[bool | None],
) -> bool | None:
    """Whether GDS is off: by its option or mitigations=off, or compiled off and no option.

    force counts as on: with the microcode, which alone this is asked for, it is the full mitigation. Up to 6.16
    mitigations=off beats it; from 6.17 on its option beats what mitigations= leaves of the attack vectors, of which
    cross-thread is one here.
    """
    if given is None:
        return None
    chosen = _last(given, "gather_data_sampling", _GDS)
    compiled = _compiled_off(config, "MITIGATION_GDS", behaviours.get("mitigation_configs"))
    own = chosen == "off" if chosen else compiled
    before = True if _mitigations(given) == "off" else own
    none_left = _all_of([*no_vectors, _no_cross_thread(given)])
    since = own if chosen else _any_of([own, none_left])
    match behaviours.get("attack_vectors"):
        case None:
            return before if before is since else None
        case attack_vectors:
            return since if attack_vectors else before


def _all_of(values: Sequence[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True


def _any_of(values: Sequence[bool | None]) -> bool | None:
    return True if True in values else None if None in values else False


def _no_cross_thread(given: Sequence[tuple[str, str]]) -> bool:
    """Whether leaks between threads are left alone (from 6.17): each mitigations= says it anew or leaves it."""
    mode, off = "auto", False
    for kind, tokens in _each_mitigations(given):
        mode = kind or mode
        off = mode == "off" or (off and mode != "auto,nosmt") or "no_cross_thread" in tokens
    return off


def _vectors(given: list[tuple[str, str]] | None, config: Mapping[str, str] | None) -> dict[str, bool | None]:
    """Attack vectors (from 6.17): user ones are on by default, guest ones where KVM is built."""
    if given is None:
        return {"no_user_vector": None, "no_guest_vector": None}
    off = any(kind == "off" for kind, _ in _each_mitigations(given))
    removed = {token for _, tokens in _each_mitigations(given) for token in tokens}
    kvm = None if config is None or "KVM" not in config else config["KVM"] in ("y", "m")
    return {
        "no_user_vector": off or removed >= _USER,
        "no_guest_vector": True if off or removed >= _GUEST else None if kvm is None else not kvm,
    }


def _tsx(
    cmdline: str | None, config: Mapping[str, str] | None, behaviours: Mapping[str, bool | None]
) -> dict[str, bool | None]:
    """tsx=: on, off or auto; any other value is off; without it the configuration's default.

    Unlike the others it is searched for in the whole command line, even behind ``--`` (cmdline_find_option).
    """
    if cmdline is None:
        return {"tsx_on": None, "tsx_auto": None}
    given = [word.removeprefix("tsx=") for word in cmdline.split() if word.startswith("tsx=")]
    if given:
        return {"tsx_on": given[-1] == "on", "tsx_auto": given[-1] == "auto"}
    modes = {
        mode: None if config is None else config.get(f"X86_INTEL_TSX_MODE_{mode}") for mode in ("ON", "AUTO", "OFF")
    }
    if "y" in modes.values():
        return {"tsx_on": modes["ON"] == "y", "tsx_auto": modes["AUTO"] == "y"}
    # A named configuration says nothing of TSX: it has what the release's Kconfig has.
    default = behaviours.get("tsx_auto_by_default") if config is not None else None
    return {"tsx_on": False if config is not None else None, "tsx_auto": default}
