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
    "ASSUMED_CONFIG", "config_items", "each_mitigations", "l1tf_off", "mitigations_kind", "option_values",
    "parse_options",
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
    given = parse_options(cmdline)
    values: dict[str, bool | None] = {}
    values["mitigations_off"] = None if given is None else mitigations_kind(given) == "off"
    for name, (option, item, valid) in _VERW.items():
        chosen = _last(given, option, valid)
        on = chosen not in ("", "off")
        compiled = _compiled_off(config, item, behaviours.get("mitigation_configs") if name != "rfds" else True)
        values[f"{name}_off"] = None if given is None else chosen == "off" or (False if on else compiled)
        values[f"{name}_on"] = None if given is None else on
        if name != "rfds":
            values[f"{name}_nosmt"] = None if given is None else _nosmt(given, option)
    values |= _gds(given, config, behaviours)
    values |= _tsa(given, config)
    values |= _vectors(given, config)
    values |= _tsx(cmdline, config, behaviours)
    return values


def parse_options(cmdline: str | None) -> list[tuple[str, str]] | None:
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


def mitigations_kind(given: Sequence[tuple[str, str]]) -> str:
    """Return what mitigations= ends as: ``off``, ``auto`` or ``auto,nosmt``; nothing where it is not given."""
    kinds = [kind for kind, _ in each_mitigations(given) if kind]
    return kinds[-1] if kinds else ""


def each_mitigations(given: Sequence[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
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
    return own or mitigations_kind(given) == "auto,nosmt"


def l1tf_off(cmdline: str, attack_vectors: bool | None) -> bool | None:
    """Return whether the kernel's L1TF choice is off, by l1tf= or mitigations=; None where the kernel decides.

    Source: Linux 6.12.117, 6.16.1 (mitigations=off beats l1tf=), 6.17.0 (it only takes the vectors out of the default)
    arch/x86/kernel/cpu/bugs.c l1tf_select_mitigation.
    """
    given = parse_options(cmdline) or []
    own = _last(given, "l1tf", _L1TF)
    before = own == "off" or mitigations_kind(given) == "off"
    off = any(kind == "off" for kind, _ in each_mitigations(given))
    removed = {token for _, tokens in each_mitigations(given) for token in tokens}
    since = own == "off" or (own == "" and (off or removed >= {"no_user_kernel", "no_guest_host"}))
    if attack_vectors is None:
        return before if before is since else None
    return since if attack_vectors else before


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


def _gds(
    given: list[tuple[str, str]] | None, config: Mapping[str, str] | None, behaviours: Mapping[str, bool | None]
) -> dict[str, bool | None]:
    """GDS: off by its option or mitigations=off, or compiled off and no option (force matters without microcode)."""
    if given is None:
        return {"gds_off": None}
    if _last(given, "gather_data_sampling", _GDS) == "off" or mitigations_kind(given) == "off":
        return {"gds_off": True}
    return {"gds_off": _compiled_off(config, "MITIGATION_GDS", behaviours.get("mitigation_configs"))}


def _vectors(given: list[tuple[str, str]] | None, config: Mapping[str, str] | None) -> dict[str, bool | None]:
    """Attack vectors (from 6.17): user ones are on by default, guest ones where KVM is built."""
    if given is None:
        return {"no_user_vector": None, "no_guest_vector": None}
    off = any(kind == "off" for kind, _ in each_mitigations(given))
    removed = {token for _, tokens in each_mitigations(given) for token in tokens}
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
