"""Documents and data about fleets: the page of an inventory, and the machines of examples/ as an inventory."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from archcaps.machine.read import read_snapshot
from archcaps.machine.row import COLUMNS
from archcaps.tables.bits import REGISTERS
from tools.pages import WRITTEN_BY, table

__all__ = ["fleet_machines", "inventory_page"]

INVENTORY_HEAD = """# Inventories

What `archcaps audit` and `archcaps roll-out` read: two tables, `hosts` and `guests`, as Parquet, CSV, NDJSON or in a
DuckDB database. `host_id` names a host; a guest has a `guest_id` and the `host_id` of its host, as texts. Every other
column may be missing or null: what is null is unknown, and never counts as safe. Columns with other names are passed
over, and named in the answer with the column they may have been meant for. Where neither `has_assigned_device` nor
`has_mapped_host_mmio` is true, one that is null is supposed to be false (`no-host-mmio`; `--assume host-mmio` turns it
round); where one of them is true, the other one, if null, is unknown. Every answer says of how many guests that is
supposed.

Of `cmdline` only the options that a rule reads make a class: a disk's UUID makes no guest another one.

A word is one signed 64-bit integer in two's complement (bit 63 is the sign), for MSRs and CPUID registers alike; in
CSV and NDJSON also decimal or `0x` and hexadecimal digits. `<word>_known` is a mask of the bits that the word speaks
for; where it is null, a word speaks for all of its bits. JSON columns hold an object of texts.

An NDJSON file may hold snapshots instead, as `archcaps probe` writes them, one a line, each with an `id`, and a guest
with the id of its `host`.

CSV is that of RFC 4180 and nothing is guessed: fields are separated by commas, the first line has the names, there are
no comments. A field with nothing in it is null, `""` is the empty text; a field with a comma, a quotation mark or a
line break stands in quotation marks, and each mark in it is doubled. NDJSON has one object a line, in which no key is
twice. A file is UTF-8; a byte order mark before it does not count.

Folders that are called `column=value` are folders: only the file says what a column holds. A path that is there is
meant by its name, whatever signs are in it; else `*`, `?` and `[...]` make a pattern.

A DuckDB database is opened for reading, without extensions and without access to any other file. A view in it runs what
whoever made it wrote, so it is refused unless `--views` asks for it.

Lines and rows that cannot be read, ids that occur twice, and guests without a usable host are set aside, counted and
listed.
"""
INVENTORY_MEANINGS = {
    "vendor": "CPUID's vendor string, as GenuineIntel", "family": "CPUID leaf 1, extended family added",
    "model": "CPUID leaf 1, extended model added", "stepping": "CPUID leaf 1", "core_type": "CPUID leaf 0x1A, EAX",
    "microcode": "the revision", "platform_id": "bits 52:50 of MSR 0x17",
    "smt_active": "more than one thread of a core is online", "smt_supported": "cores have more than one thread",
    "ls_cfg_readable": "MSR 0xC0011020 can be read", "msr_writes_succeed": "a write to MSR 0x49 (SBPB) succeeds",
    "snp_host": "SEV-SNP is enabled for a host", "vmx_enabled": "IA32_FEAT_CTL lets VMX be used",
    "ram_above_half": "RAM lies in the upper half of the physical addresses",
    "system": "linux (also where null), freebsd, windows or xen", "kernel": "what `uname -r` says",
    "cmdline": "the kernel's command line; empty: none",
    "config": "upstream-defaults, debian-cloud or another known configuration, or JSON of CONFIG_ items",
    "behaviours": "JSON: observed kernel behaviours, true or false", "xen_pv": "the kernel runs as a Xen PV guest",
    "kvm_parameters": "JSON: the parameters of KVM's modules, as kvm_intel.vmentry_l1d_flush",
    "has_assigned_device": "KVM counts a device assigned to the guest",
    "has_mapped_host_mmio": "host MMIO is mapped into the guest",
    "has_host_device": "the guest has, or may have, a device of the host: nothing is assumed of the two before",
    "vulnerabilities": "JSON: the texts of /sys/devices/system/cpu/vulnerabilities by file",
}  # fmt: skip


def inventory_page() -> str:
    """The columns of an inventory."""
    parts = [WRITTEN_BY, INVENTORY_HEAD]
    for role, columns in COLUMNS.items():
        words = [name for name in columns if name.removeprefix("kvm_offered_") in REGISTERS]
        plain = [name for name in columns if name in INVENTORY_MEANINGS]
        parts.append(f"## {role}s\n")
        ids = [
            (f"`{name}`", "VARCHAR", "must be there")
            for name in (("host_id",), ("guest_id", "host_id"))[role == "guest"]
        ]
        parts.append(
            table(
                ("column", "type", "meaning"),
                [*ids, *((f"`{name}`", columns[name], INVENTORY_MEANINGS[name]) for name in plain)],
            )
        )
        parts.append("Words, each with its `_known`:\n")
        rows = [(f"`{name}`", _word_meaning(name)) for name in words]
        parts.append(table(("column", "word"), rows))
    return "\n".join(parts)


def _word_meaning(name: str) -> str:
    title = REGISTERS[name.removeprefix("kvm_offered_")].title
    return f"{title}, as /dev/kvm offers it" if name.startswith("kvm_offered_") else title


def fleet_machines(examples: Path) -> str:
    """The machines of examples/ as an inventory's lines, for the fleets that `sample-fleet` makes."""
    lines = []
    for path in sorted(examples.glob("*/[hg][ou][se]*.toml")):
        snapshot = msgspec.json.encode(read_snapshot(path), order="deterministic")
        identity = path.relative_to(examples).with_suffix("").as_posix()
        lines.append(json.dumps({"id": identity, **json.loads(snapshot)}, ensure_ascii=False))
    return "\n".join(lines) + "\n"
