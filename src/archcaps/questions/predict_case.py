"""Cases for `archcaps predict`: one JSON object a line, a CPU as it is shown and the kernel that looks at it.

Keys that are missing are unknown; keys that are not known are let through.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec

from archcaps.errors import InputError, nearest
from archcaps.machine.given_options import config_items
from archcaps.machine.snapshot import Kernel
from archcaps.machine.strict_text import duplicate_line, has_duplicate
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS, REGISTERS
from archcaps.tables.kernels import Release, too_old

__all__ = ["UNSAID_BITS", "Case", "check_release", "number_of", "parse_case"]

#: CPUID bits that `bits` may leave out without their being 0: cases were recorded without a name for them.
UNSAID_BITS: Final = frozenset(("null_sel_clr_base", "monitor"))

_CPUID_BITS: Final = frozenset(name for name, bit in BITS.items() if REGISTERS[bit.register].kind == "cpuid")
_NUMBER: Final = re.compile(r"(?:0[xX][0-9a-fA-F]{1,80}|[0-9]{1,80})\Z")
_SMP: Final = re.compile(r"[0-9]+(?:,[a-z]+=[0-9]+)*\Z")
_THREADS: Final = re.compile(r"threads=([0-9]+)")
#: Bits of CPUID leaf 1 that hold family, model and stepping, the extended ones added.
_WIDTHS: Final = {"family": 0x10E, "model": 0xFF, "stepping": 0xF, "core_type": 0xFF}


class Case(msgspec.Struct, kw_only=True):
    """One case as its line gives it.

    `bits` are all CPUID bits that are shown; with `hidden`, those that are known to be 0, the others are unknown.
    `arch_caps` None: RDMSR 0x10a faults, so that every bit counts as 0; UNSET: unknown. `msrs` by number as text: 0x8b
    is the microcode revision (in the upper half on Intel), 0x17 has the platform, 0xc0011020 can be read if it is
    there. An MSR that `msrs` does not name reads `other_msrs`, and is unknown without it, as one that is null is.
    `smt_active` and `smt_supported` go before what `smp` says. `guest_values` and `guest_cpuid_arch_capabilities` are
    for questions about KVM: what a vCPU's MSR 0x10a is set to, and whether its CPUID shows it.
    """

    kernel: str | None = None
    vendor: str | None = None
    family: int | str | None = None
    model: int | str | None = None
    stepping: int | str | None = None
    core_type: int | str | None = 0
    hypervisor: bool | None = None
    bits: list[str] | None = None
    hidden: list[str] | None = None
    arch_caps: int | str | msgspec.UnsetType | None = msgspec.UNSET
    msrs: dict[str, int | str | None] | None = None
    other_msrs: int | str | None = None
    msr_writes_succeed: bool | None = None
    cmdline: str | None = None
    smp: int | str | None = None
    smt_active: bool | None = None
    smt_supported: bool | None = None
    config: str | dict[str, str] | None = None
    kvm_parameters: dict[str, str] = {}
    xen_pv: bool | None = False
    ram_above_half: bool | None = False
    guest_values: list[int | str] = []
    guest_cpuid_arch_capabilities: bool | None = None

    def number(self, name: str) -> int | None:
        """Return the family, model, stepping or core type."""
        return number_of(getattr(self, name))

    @property
    def complete(self) -> bool:
        """Whether all that most texts depend on is given."""
        given = (
            self.kernel,
            self.vendor,
            self.family,
            self.model,
            self.hypervisor,
            self.bits,
            self.cmdline,
            self.config,
        )
        return None not in given and self.arch_caps is not msgspec.UNSET and self.hidden is None

    def bit_values(self) -> Mapping[str, bool | None]:
        """Return what is known of each CPUID bit; the same object for the same bits."""
        hidden = None if self.hidden is None else frozenset(self.hidden)
        return _bit_values(None if self.bits is None else frozenset(self.bits), hidden, self.hypervisor)

    @property
    def smt(self) -> tuple[bool | None, bool | None]:
        """Whether two threads of a core are online, and whether a core has two; a number alone has cores of one.

        One CPU of a core of two has no thread beside it; which of more are each other's threads `smp` does not say.
        """
        active = supported = None
        if self.smp is not None:
            found = _THREADS.search(str(self.smp))
            cpus, threads = int(str(self.smp).partition(",")[0]), int(found[1]) if found else 1
            supported = threads > 1
            active = False if not supported or cpus < 2 else True if cpus >= threads else None
        supported = supported if self.smt_supported is None else self.smt_supported
        active = (False if supported is False else active) if self.smt_active is None else self.smt_active
        return active, True if active and self.smt_supported is None else supported

    def msr(self, index: int) -> int | None:
        """Return what MSR `index` holds, or None where that is not given."""
        for name, value in (self.msrs or {}).items():
            if number_of(name) == index:
                return number_of(value)
        return number_of(self.other_msrs)


@lru_cache(maxsize=1 << 11)
def _bit_values(
    shown: frozenset[str] | None, hidden: frozenset[str] | None, hypervisor: bool | None
) -> Mapping[str, bool | None]:
    values: dict[str, bool | None] = dict.fromkeys(_CPUID_BITS)
    if shown is not None and hidden is None:
        values |= dict.fromkeys(_CPUID_BITS - UNSAID_BITS, False)
    values |= dict.fromkeys(hidden or (), False)
    values |= dict.fromkeys(shown or (), True)
    if hypervisor is not None or not values["hypervisor"]:  # its own key says whether it is shown
        values["hypervisor"] = hypervisor
    return values


_DECODER: Final = msgspec.json.Decoder(Case)


def parse_case(line: bytes, where: str) -> Case:
    """Return the case in one line; `where` says which line it is.

    Raises:
        InputError: it is no JSON object, a key is there twice, a value is of another kind or out of range, or a
            name is unknown.
    """
    try:
        case = _DECODER.decode(line)
    except msgspec.ValidationError as error:
        raise InputError(_plain(str(error)), where) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"not JSON ({error}), expected one object", where) from error
    if has_duplicate(line):
        raise InputError(f"the key {duplicate_line(line.decode())[0]!r} is given twice (expected once)", where)
    _check_numbers(case, where)
    _check_bits(case, where)
    if case.kernel is not None:
        check_release(case.kernel, f"{where}: kernel")
    if case.smp is not None and not _SMP.match(str(case.smp)):
        raise InputError(f'smp: {case.smp!r}, expected a number of CPUs, as 1 or "2,threads=2"', where)
    config_items(Kernel(config=case.config), f"{where}: config")
    return case


def check_release(text: str, where: str) -> None:
    """Refuse what is no kernel release, and one so old that nothing is known of its texts.

    Raises:
        InputError: it is such a release; `where` says where it was given.
    """
    try:
        old = too_old(Release.parse(text))
    except ValueError as error:
        raise InputError(str(error), where) from error
    if old:
        raise InputError(old, where)


def _check_numbers(case: Case, where: str) -> None:
    for name, most in _WIDTHS.items():
        _check_number(getattr(case, name), most, f"{where}: {name}")
    if case.arch_caps is not msgspec.UNSET:
        _check_number(case.arch_caps, (1 << 64) - 1, f"{where}: arch_caps")
    _check_number(case.other_msrs, (1 << 64) - 1, f"{where}: other_msrs")
    for value in case.guest_values:
        _check_number(value, (1 << 64) - 1, f"{where}: guest_values")
    for index, read in (case.msrs or {}).items():
        _check_number(index, (1 << 32) - 1, f"{where}: msrs")
        _check_number(read, (1 << 64) - 1, f"{where}: msrs {index}")


def _check_number(value: int | str | None, most: int, where: str) -> None:
    if isinstance(value, str) and not _NUMBER.match(value):
        raise InputError(f"{value!r} is not a number, expected decimal or 0x and hexadecimal digits", where)
    found = number_of(value)
    if found is not None and not 0 <= found <= most:
        raise InputError(f"{value} is out of range, expected 0 to {most:#x}", where)


def _check_bits(case: Case, where: str) -> None:
    seen = set()
    for name in (*(case.bits or ()), *(case.hidden or ())):
        if name in seen:
            raise InputError(f"bits: {name} is given twice, expected each bit once", where)
        seen.add(name)
        if name not in _CPUID_BITS:
            kind = "a bit of an MSR" if name in ARCH_CAPABILITIES else "unknown"
            raise InputError(f"bits: {name!r} is {kind}{nearest(name, _CPUID_BITS)}, expected a CPUID bit", where)
    if case.hypervisor is False and "hypervisor" in (case.bits or ()):
        raise InputError("bits: hypervisor is named and the key hypervisor is false, expected one of the two", where)


def number_of(value: int | str | None) -> int | None:
    """Return a number given as such or as text: decimal, or 0x and hexadecimal digits."""
    if isinstance(value, str):
        return int(value, 16) if value.lower().startswith("0x") else int(value)
    return value


def _plain(message: str) -> str:
    """Return msgspec's message with the key in front: ``family: expected ...``."""
    text, _, path = message.partition(" - at `$")
    key = path.rstrip("`").lstrip(".")
    text = text[:1].lower() + text[1:]
    return f"{key}: {text}" if key else text
