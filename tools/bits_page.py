"""The page of registers and bits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from archcaps.tables.bits import CONSUMERS, REGISTERS, Bit, Register, bits_of, fields_of
from tools.pages import WRITTEN_BY, Sources, table

__all__ = ["bits_page"]

BITS_HEAD = """# Registers and bits

Every bit that archcaps knows, from `src/archcaps/tables/registers.csv`, `bits.csv` and `fields.csv`. `archcaps check`
and snapshots call a bit by its name here; `archcaps decode` takes everybody's names and prints whichever are asked for.

* **kind**: *immunity* (the part is not affected), *affected* (it is), *clears* (an instruction clears buffers),
  *control* and *command* (a register or a switch, or that there is one), *feature* (anything else), *reserved* (no
  published meaning).
* **pool**: what a pool of hosts may show a guest that moves among them. *AND*: only what every host has. *OR*: what any
  host has, because leaving it out hides a need. *HOST*: never shown to a guest. Empty: no rule.
* **UNVERIFIED** marks what rests on a single or indirect statement; [unverified.md](unverified.md) lists all of it.
"""


def names_of(bit: Bit) -> str:
    """The names that a bit's users have for it, those who agree together."""
    spelling = {"intel": "Intel", "linux": "Linux", "qemu": "QEMU", "libvirt": "libvirt", "xen": "Xen"}
    users: dict[str, list[str]] = {}
    for consumer in CONSUMERS:
        if consumer in bit.names:
            users.setdefault(bit.names[consumer], []).append(spelling[consumer])
    return "; ".join(f"{', '.join(who)} `{name}`" for name, who in users.items())


def bit_rows(bits: Iterable[Bit], sources: Sources) -> Iterator[list[str]]:
    """Rows of a register's table; reserved bits that follow each other in one."""
    numbered = list(enumerate(bits))
    for (reserved, _), group in groupby(numbered, lambda item: (item[1].status == "reserved", item[0] - item[1].bit)):
        found = [bit for _, bit in group]
        if reserved:
            number = str(found[0].bit) if len(found) == 1 else f"{found[0].bit} to {found[-1].bit}"
            yield [number, "", "reserved", "", "", "No published meaning.", sources.cite(found[0].source)]
            continue
        for bit in found:
            mark = "**UNVERIFIED.** " if bit.status != "documented" else ""
            kind = "" if bit.kind == "unverified" else bit.kind
            yield [
                str(bit.bit), f"`{bit.name}`", kind, bit.pool, names_of(bit), mark + bit.meaning,
                sources.cite(bit.source),
            ]  # fmt: skip


def field_rows(register: Register, sources: Sources) -> list[list[str]]:
    """Rows of the numbers that take several bits of a register."""
    return [
        [f"{field.low} to {field.high}", f"`{field.name}`",
         ", ".join(f"{number:#x} {says}" for number, says in field.values.items()), field.meaning,
         sources.cite(field.source)]
        for field in fields_of(register.id).values()
    ]  # fmt: skip


def register_title(register: Register) -> str:
    if register.kind == "msr":
        return f"{register.title} (MSR {register.address:#x}), `{register.id}`"
    return f"{register.title}, `{register.id}`"


def bits_page() -> str:
    parts = [WRITTEN_BY, BITS_HEAD]
    for register in REGISTERS.values():
        sources = Sources()
        rows = list(bit_rows(bits_of(register.id).values(), sources))
        head = ["bit", "name", "kind", "pool", "called", "meaning", "source"]
        parts.append(f"## {register_title(register)}\n")
        if rows:
            parts.append(table(head, rows))
        numbers = field_rows(register, sources)
        if numbers:
            parts.append(table(["bits", "number", "values", "meaning", "source"], numbers))
        parts.append(str(sources))
    return "\n".join(parts)
