"""clearcpuid= and setcpuid=: CPU flags that a kernel takes from itself, or adds, whatever CPUID shows.

Source: Linux v6.17 arch/x86/kernel/cpu/common.c cpu_parse_early_param, parse_set_clear_cpuid, apply_forced_caps (names
and numbers, the last of each option; what is set beats what is cleared); 1ef5423a55c2 (5.10: before any bug is looked
for), 1625c833db93 (5.19: names). Numbers: arch/x86/include/asm/cpufeatures.h.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from archcaps.tables.bits import ARCH_CAPABILITIES, BITS, REGISTERS
from archcaps.tables.names import CPU_LOOKUPS

__all__ = ["WAYS", "cleared_features", "forced_flags"]

#: Behaviours that decide what the options do.
WAYS: Final = ("clears_cpuid_first", "clears_cpuid_by_name", "sets_cpuid")
#: Whether the release has each of `WAYS`; None where unknown.
Ways = tuple[bool | None, bool | None, bool | None]

#: Words of Linux's flags that are a word of CPUID as it is, and have bits that rules read, the same in every release.
_WORDS: Final = MappingProxyType({4: "cpuid_1_ecx", 9: "cpuid_7_0_ebx", 13: "cpuid_80000008_ebx", 18: "cpuid_7_0_edx"})
#: Words of CPUID without a bit that a rule reads (514, UMIP, is one of word 16).
_WITHOUT_ANY: Final = frozenset((0, 1, 2, 5, 10, 12, 14, 15, 16, 17))
#: X86_FEATURE_XSAVE, on which AVX hangs (cpuid-deps.c).
_XSAVE: Final = 4 * 32 + 26
#: Flags of /proc/cpuinfo that are one bit of CPUID, and that Linux reads as that flag alone.
_SINGLE: Final = frozenset(
    ("md_clear", "flush_l1d", "arch_capabilities", "rtm", "hle", "avx", "avx2", "rdrand", "rdseed")
)
#: Flags that Linux puts together from several bits, by their numbers: the bits stay, only the flag goes.
_JOINED: Final = MappingProxyType({"ssbd": 241, "ibrs": 249, "ibpb": 250, "stibp": 251})
_BY_NUMBER: Final = MappingProxyType({str(number): name for name, number in _JOINED.items()})
#: The bits that such a flag is made of.
_MADE_OF: Final = MappingProxyType(
    {
        "ssbd": ("ssbd", "amd_ssbd", "virt_ssbd"),
        "ibrs": ("spec_ctrl", "amd_ibrs"),
        "ibpb": ("spec_ctrl", "amd_ibpb"),
        "stibp": ("intel_stibp", "amd_stibp"),
    }
)
#: The kernel's buffer holds no more.
_LONGEST: Final = 127

_CPUID: Final = tuple(name for name, bit in BITS.items() if REGISTERS[bit.register].kind == "cpuid")


def _given(cmdline: str | None, option: str) -> str:
    """Return the value that counts: the last one anywhere in the command line (cmdline_find_option)."""
    words = reversed((cmdline or "").split())
    return next((word.partition("=")[2] for word in words if word.startswith(f"{option}=")), "")


@lru_cache(maxsize=256)
def cleared_features(cmdline: str | None, ways: Ways) -> Mapping[str, bool | None]:
    """Return whether the kernel takes each flag that it puts together from itself, as ``ibrs_cleared``."""
    if cmdline is None:
        return dict.fromkeys(f"{name}_cleared" for name in _JOINED)
    items, (first, by_name, sets) = _given(cmdline, "clearcpuid").split(","), ways
    set_too = _given(cmdline, "setcpuid").split(",") if sets is not False else []
    found: dict[str, bool | None] = {}
    for name, number in _JOINED.items():
        named = name in items and by_name is not False
        value = named or str(number) in items
        sure = bool(first) and (bool(by_name) or not named) and not {name, str(number)} & set(set_too)
        found[f"{name}_cleared"] = None if value and not sure else value
    return found


@lru_cache(maxsize=256)
def forced_flags(cmdline: str | None, ways: Ways) -> Mapping[str, bool | None]:
    """Return the CPU's bits that the kernel sees otherwise than CPUID shows them; None: it is not known how.

    MSR 0x10a's bits are among them where the kernel reads it although CPUID does not show it, and what the lists say
    where an option may set a bug that no list has.
    """
    first, by_name, sets = ways
    found: dict[str, bool | None] = {}
    if "noxsave" in (cmdline or "").split():
        found["avx"] = False
    for option, value, counts in (("clearcpuid", False, True), ("setcpuid", True, sets)):
        text = _given(cmdline, option)
        if text and counts is not False:
            known = bool(first) and bool(counts) and len(text) <= _LONGEST
            for name, sure in _changed(text, by_name, value=value):
                found[name] = value if known and sure else None
    return found


def _changed(text: str, by_name: bool | None, *, value: bool) -> Iterator[tuple[str, bool]]:
    """Yield each bit that an option's value changes, and whether it surely does, and no more than that."""
    for item in text.split(","):
        if item.isascii() and item.isdigit():
            yield from _of_number(item, value=value)
        elif by_name is False:
            return  # numbers alone, up to the first that is none
        else:
            yield from ((name, sure and bool(by_name)) for name, sure in _of_name(item, value=value))


def _of_name(name: str, *, value: bool) -> Iterator[tuple[str, bool]]:
    if name == "xsave":
        yield from () if value else (("avx", True),)
    elif name in _JOINED:
        yield from ((bit, False) for bit in _MADE_OF[name] if value)  # what is cleared: cleared_features
    elif name in _SINGLE:
        yield from _of_bit(name, value=value)
    elif name in _CPUID:
        yield name, False
    elif value:
        yield from _anything()  # the name may be a bug's


def _of_number(text: str, *, value: bool) -> Iterator[tuple[str, bool]]:
    if text in _BY_NUMBER:
        yield from _of_name(_BY_NUMBER[text], value=value)
        return
    word, position = divmod(int(text[:9]), 32)
    if word * 32 + position == _XSAVE:
        yield from _of_name("xsave", value=value)
    elif word in _WORDS:
        bits = (name for name in _CPUID if BITS[name].register == _WORDS[word] and BITS[name].bit == position)
        for name in bits:
            yield from _of_bit(name, value=value) if name in _SINGLE else ((name, False),)
    elif word not in _WITHOUT_ANY:
        yield from _anything()  # a word of Linux's own, or one that has not the same place in every release


def _of_bit(name: str, *, value: bool) -> Iterator[tuple[str, bool]]:
    yield name, True
    if name == "arch_capabilities" and value:
        yield from ((bit, False) for bit in ARCH_CAPABILITIES)  # the MSR is read where nothing says that it is there


def _anything() -> Iterator[tuple[str, bool]]:
    return ((name, False) for name in (*_CPUID, *ARCH_CAPABILITIES, *CPU_LOOKUPS))
