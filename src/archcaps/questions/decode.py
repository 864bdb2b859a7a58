"""Values of registers as named bits and fields, names as values, and the difference of two values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from archcaps.errors import InputError, nearest
from archcaps.tables.bits import BITS, FIELDS, REGISTERS, Bit, Field, Register, bits_of, fields_of

__all__ = [
    "DEFAULT_REGISTER", "FORMAT_VERSION", "Change", "Decoded", "DecodedBit", "DecodedField", "Difference", "Encoded",
    "decode", "difference", "encode", "find_register", "is_value", "names_in", "value_in",
]  # fmt: skip

FORMAT_VERSION: Final = 1

#: The register that a value belongs to unless another is named.
DEFAULT_REGISTER: Final = "ia32_arch_capabilities"

#: What a 1 is to whoever reads it.
News = Literal["good", "bad", "good-if-needed", "neutral", "unknown"]
#: What a bit that only one of two values has is to whoever has it.
Effect = Literal["better", "worse", "better-if-needed", "neither", "unknown"]
#: What to do with a bit that only one of two hosts has, for a guest that may run on both.
InPool = Literal["hide", "show", "never", "no-rule"]

_NEWS: Mapping[str, News] = {
    "immunity": "good", "affected": "bad", "clears": "good-if-needed", "control": "neutral", "feature": "neutral",
    "command": "neutral",
}  # fmt: skip
_EFFECTS: Mapping[News, Effect] = {
    "good": "better", "bad": "worse", "good-if-needed": "better-if-needed", "neutral": "neither", "unknown": "unknown",
}  # fmt: skip
_IN_POOL: Mapping[str, InPool] = {"AND": "hide", "OR": "show", "HOST": "never", "": "no-rule"}

#: What a register's values take for granted.
_NOTES: Mapping[str, str] = {
    "ia32_arch_capabilities": "Holds only where CPUID.7.0:EDX[29] is 1, on Intel-compatible CPUs: on Centaur's MSR "
    "0x10a is another register."
}

# Patterns are compiled when they are first used: most runs need one of them.
_NUMBER = r"0[xX][0-9a-fA-F]+|[0-9]+"
_MSR = r"(?:msr[:. ]?)?(?:0x)?([0-9a-f]{1,8})h?"
_CPUID = r"(?:cpuid[:. ]?)?(?:0x)?([0-9a-f]{1,8})h?(?:[.:](?:0x)?([0-9a-f]{1,2})h?)?[.:](e[abcd]x)"
_UNKNOWN = r"unknown_([0-9]{1,2})"
#: What stands before a name in C, and the registers that it speaks of: those of a kind, or one.
_PREFIXES = (
    (r"(?:msr_)?arch_caps?_", "ia32_arch_capabilities"),
    (r"(?:kvm_)?x86_feature_", "cpuid"),
)


@dataclass(frozen=True, slots=True)
class DecodedBit:
    """One bit: what it is called, what a 1 claims, and to whom that is good news."""

    bit: int
    set: bool
    name: str
    names: dict[str, str]
    kind: str
    news: News
    vulnerabilities: list[str]
    pool: str
    status: str
    meaning: str
    source: str


@dataclass(frozen=True, slots=True)
class DecodedField:
    """A number that takes several bits; `says` is what this number stands for, where a table has it."""

    low: int
    high: int
    name: str
    value: int
    says: str | None
    meaning: str
    source: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """One value of a register: its set bits (or all that are known), lowest first, and its fields."""

    format_version: int
    what: Literal["value"]
    register: str
    title: str
    address: str
    value: str
    note: str | None
    bits: list[DecodedBit]
    fields: list[DecodedField]

    def __int__(self) -> int:
        """Return the value as a number."""
        return int(self.value, 16)

    def __getitem__(self, name: str) -> DecodedBit:
        for bit in self.bits:
            if bit.name == name:
                return bit
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Names as values, one for each register that has one of them."""

    format_version: int
    what: Literal["names"]
    names: list[str]
    values: list[Decoded]


@dataclass(frozen=True, slots=True)
class Change:
    """A bit that one of two values has: what that is to whoever has it, and what to do in a pool of both."""

    bit: DecodedBit
    effect: Effect
    in_pool: InPool


@dataclass(frozen=True, slots=True)
class Difference:
    """Two values of a register. `pool_value` is what a guest that may run on both hosts may be shown."""

    format_version: int
    what: Literal["difference"]
    register: str
    title: str
    address: str
    note: str | None
    a: str
    b: str
    only_a: list[Change]
    only_b: list[Change]
    both: list[str]
    fields_a: list[DecodedField]
    fields_b: list[DecodedField]
    pool_value: str | None


def is_value(text: str) -> bool:
    """Return whether a word is meant as a number; if not, it is a name."""
    return text[:1].isdigit() or text[:1] == "-"


def value_in(text: str, register: str = DEFAULT_REGISTER, where: str = "") -> int:
    """Return the number that `text` (decimal, or 0x and hexadecimal digits) is, if it fits in the register.

    Raises:
        InputError: it is no number, or too wide.
    """
    width = REGISTERS[register].width
    if not re.fullmatch(_NUMBER, text):
        bare = re.fullmatch(r"[0-9a-fA-F]{1,16}", text)
        hint = f" (did you mean 0x{text}?)" if bare else " (expected decimal, or 0x and hexadecimal digits)"
        raise InputError(f"{text[:80]!r} is not a number{hint}", where)
    # No decimal number of 64 bits has more than 20 digits; int() refuses very long ones.
    hexadecimal = text[:2] in ("0x", "0X")
    value = int(text, 16) if hexadecimal else int(text) if len(text.lstrip("0")) <= 20 else 1 << 64
    if value >> width:
        raise InputError(f"{text[:80]} does not fit in {register}, which has {width} bits", where)
    return value


def names_in(text: str) -> list[str]:
    """Return the names in a text that commas or spaces part."""
    return [name for name in re.split(r"[,\s]+", text) if name]


def find_register(text: str, where: str = "") -> str:
    """Return the id of a register that is given by id, title or address, such as 0x10a, msr:0x10a or 7.0:edx.

    Raises:
        InputError: no table has that register.
    """
    wanted = text.strip().lower().replace("-", "_")
    titles = {register.title.lower(): name for name, register in REGISTERS.items()}
    name = wanted if wanted in REGISTERS else titles.get(wanted)
    if name is not None:
        return name
    cpuid, msr = re.fullmatch(_CPUID, wanted), re.fullmatch(_MSR, wanted)
    for register in REGISTERS.values():
        if cpuid and register.kind == "cpuid":
            leaf, subleaf, output = int(cpuid[1], 16), int(cpuid[2] or "0", 16), cpuid[3]
            if (register.address, register.subleaf, register.output) == (leaf, subleaf, output):
                return register.id
        elif msr and register.kind == "msr" and register.address == int(msr[1], 16):
            return register.id
    known = ", ".join(f"{register.id} ({_address(register)})" for register in REGISTERS.values())
    raise InputError(f"unknown register {text[:80]!r}{nearest(wanted, REGISTERS)}; known: {known}", where)


def decode(value: int | str, register: str = DEFAULT_REGISTER, *, everything: bool = False) -> Decoded:
    """Return the set bits of a register's value by name, lowest first; with `everything` the clear ones as well.

    Raises:
        InputError: the value does not fit, or no table has the register.
    """
    found = REGISTERS[find_register(register)]
    number = value_in(value if isinstance(value, str) else str(value), found.id)
    fields = fields_of(found.id).values()
    known = {bit.bit: bit for bit in bits_of(found.id).values()}
    inside = sum(field.mask for field in fields)
    bits = []
    for position in range(found.width):
        is_set = bool(number >> position & 1)
        if is_set or (everything and position in known):
            if position in known:
                bits.append(_decoded(known[position], is_set=is_set))
            elif not inside >> position & 1:
                bits.append(_unknown(position))
    return Decoded(
        FORMAT_VERSION, "value", found.id, found.title, _address(found), hex(number), _NOTES.get(found.id), bits,
        [_decoded_field(field, number) for field in fields],
    )  # fmt: skip


def encode(names: str | Iterable[str], register: str | None = None, where: str = "") -> Encoded:
    """Return the values in which the named bits are set, by register.

    A name may be anybody's: archcaps' own, Intel's, Linux's, QEMU's, libvirt's or Xen's; letter case does not matter,
    - is as good as _, and the prefixes of C (ARCH_CAP_, X86_FEATURE_) may stand before it. A field takes a number:
    core_type=0x20. A name that several registers have is taken from `register`, or else from the default register.

    Raises:
        InputError: nobody has that name, or several registers have it.
    """
    wanted = None if register is None else find_register(register)
    given = names_in(names) if isinstance(names, str) else list(names)
    if not given:
        raise InputError("no names (expected some, parted by commas or spaces)", where)
    values: dict[str, int] = {}
    for name in given:
        target, mask = _assigned(name, where) if "=" in name else _named(name, wanted, where)
        values[target] = values.get(target, 0) | mask
    ordered = [name for name in REGISTERS if name in values]
    return Encoded(FORMAT_VERSION, "names", given, [decode(values[name], name) for name in ordered])


def difference(a: int | str, b: int | str, register: str = DEFAULT_REGISTER) -> Difference:
    """Return what only one of two values has, and what that means where a guest may run on both.

    Raises:
        InputError: a value does not fit, or no table has the register.
    """
    one, other = decode(a, register), decode(b, register)
    in_one, in_other = {bit.bit for bit in one.bits}, {bit.bit for bit in other.bits}
    known = bits_of(one.register).values()
    pooled = sum(
        bit.mask
        for bit in known
        if (bit.pool == "AND" and bit.mask & int(one) & int(other))
        or (bit.pool == "OR" and bit.mask & (int(one) | int(other)))
    )
    return Difference(
        FORMAT_VERSION, "difference", one.register, one.title, one.address, one.note, one.value, other.value,
        [_change(bit) for bit in one.bits if bit.bit not in in_other],
        [_change(bit) for bit in other.bits if bit.bit not in in_one],
        [bit.name for bit in one.bits if bit.bit in in_other],
        one.fields, other.fields, hex(pooled) if any(bit.pool for bit in known) else None,
    )  # fmt: skip


def _address(register: Register) -> str:
    return f"MSR {register.address:#x}" if register.kind == "msr" else register.title


def _decoded(bit: Bit, *, is_set: bool) -> DecodedBit:
    return DecodedBit(
        bit.bit, is_set, bit.name, dict(bit.names), bit.kind, _NEWS.get(bit.kind, "unknown"),
        list(bit.vulnerabilities), bit.pool, bit.status, bit.meaning, bit.source,
    )  # fmt: skip


def _unknown(position: int) -> DecodedBit:
    return DecodedBit(
        position, True, f"unknown_{position}", {}, "unknown", "unknown", [], "", "unknown",
        "archcaps' tables have no meaning for this bit.", "",
    )  # fmt: skip


def _decoded_field(field: Field, register: int) -> DecodedField:
    value = field.value(register)
    return DecodedField(
        field.low, field.high, field.name, value, field.values.get(value), field.meaning, field.source
    )  # fmt: skip


def _change(bit: DecodedBit) -> Change:
    return Change(bit, _EFFECTS[bit.news], _IN_POOL[bit.pool])


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


@cache
def _by_name() -> Mapping[str, tuple[Bit, ...]]:
    """Return the bits by every name that anybody has for them, in its plain spelling."""
    found: dict[str, dict[str, Bit]] = {}
    for bit in BITS.values():
        for name in (bit.name, *bit.names.values()):
            found.setdefault(_plain(name), {})[bit.name] = bit
    return {name: tuple(bits.values()) for name, bits in found.items()}


def _bits_named(name: str) -> tuple[Bit, ...]:
    """Return the bits that somebody calls by this name, with or without a prefix of C."""
    plain = _plain(name)
    if plain in _by_name():
        return _by_name()[plain]
    for prefix, of in _PREFIXES:
        match = re.match(prefix, plain)
        if match:
            bits = _by_name().get(plain[match.end() :], ())
            # Xen's features are those of IA32_ARCH_CAPABILITIES too.
            return tuple(
                bit for bit in bits if bit.register == of or (of == "cpuid" and REGISTERS[bit.register].kind == of)
            ) or tuple(bit for bit in bits if bit.register == DEFAULT_REGISTER)
    return ()


def _named(name: str, register: str | None, where: str) -> tuple[str, int]:
    """Return the register and the mask of the bit that a name means."""
    unknown = re.fullmatch(_UNKNOWN, _plain(name))
    if unknown:
        target = register or DEFAULT_REGISTER
        position = int(unknown[1])
        taken = {bit.bit for bit in bits_of(target).values()}
        if position >= REGISTERS[target].width or position in taken:
            raise InputError(f"{target} has no unknown bit {position}", where)
        return target, 1 << position
    bits = _bits_named(name)
    if not bits:
        raise InputError(f"unknown bit {name[:80]!r}{_nearest(name)}", where)
    if len(bits) > 1:
        for preferred in (register, DEFAULT_REGISTER):
            chosen = [bit for bit in bits if bit.register == preferred]
            if chosen:
                return chosen[0].register, chosen[0].mask
        places = " and ".join(f"bit {bit.bit} of {bit.register}" for bit in bits)
        raise InputError(f"{name!r} is {places}: say which with --register", where)
    return bits[0].register, bits[0].mask


def _assigned(text: str, where: str) -> tuple[str, int]:
    """Return the register and the bits of a field that is given as ``core_type=0x20``."""
    name, _, number = text.partition("=")
    field = FIELDS.get(_plain(name))
    if field is None:
        hint = nearest(_plain(name), FIELDS) or f" (known: {', '.join(FIELDS)})"
        raise InputError(f"unknown field {name[:80]!r}{hint}", where)
    if not re.fullmatch(_NUMBER, number) or len(number) > 20:
        raise InputError(f"{text[:80]!r}: expected a number after =", where)
    value = int(number, 16) if number[:2] in ("0x", "0X") else int(number)
    width = field.high - field.low + 1
    if value >> width:
        raise InputError(f"{text[:80]} does not fit: {field.name} has {width} bits", where)
    return field.register, value << field.low


def _nearest(name: str) -> str:
    """Return `` (did you mean x, y or z?)`` for the known names closest to `name`, or nothing."""
    from difflib import get_close_matches  # noqa: PLC0415  # only when something is wrong

    spelled: dict[str, str] = {}
    for bit in BITS.values():
        for each in (bit.name, *bit.names.values()):
            spelled.setdefault(_plain(each), each)
    found = [spelled[match] for match in get_close_matches(_plain(name), spelled, n=3, cutoff=0.7)]
    if not found:
        return f" (did you mean 0x{name}?)" if re.fullmatch(r"[0-9a-fA-F]{1,16}", name) else ""
    return f" (did you mean {' or '.join(filter(None, (', '.join(found[:-1]), found[-1])))}?)"
