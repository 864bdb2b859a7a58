"""The tables' own lint: no bit or name twice, every row with a source, nothing that no rule knows.

Run by `make lint`; prints one line for each fault and exits with 1 where there is one.
"""

from __future__ import annotations

import csv
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from archcaps.tables.names import CPU_LOOKUPS, KERNEL_LOOKUPS, SILICON_LOOKUPS
from archcaps.tables.releases import Release
from tools.check_libvirt_tables import libvirt_faults
from tools.check_qemu_tables import SOURCED, qemu_faults

TABLES = Path(__file__).parents[1] / "src" / "archcaps" / "tables"
KINDS = {"immunity", "clears", "control", "feature", "affected", "command", "reserved", "unverified"}
POOLS = {"", "AND", "OR", "HOST"}
STATUSES = {"documented", "reserved", "unverified"}
AXIOM_STATUSES = {"documented", "derived", "unverified"}
VENDORS = ("vendor_intel", "vendor_amd", "vendor_hygon")
CONSUMERS = ("intel", "linux", "qemu", "libvirt", "xen")

Rows = list[dict[str, str]]
#: One of these literals holds: names, each with the value that is meant.
Clause = frozenset[tuple[str, bool]]


def read(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def twice(values: list[str]) -> list[str]:
    return sorted(value for value, count in Counter(values).items() if count > 1)


def plain(name: str) -> str:
    """A name as it is compared: letter case does not matter, and - is as good as _."""
    return name.lower().replace("-", "_")


def bit_faults(registers: Rows, bits: Rows) -> Iterator[str]:
    """Yield what is wrong with the registers and their bits."""
    widths = {row["id"]: 64 if row["kind"] == "msr" else 32 for row in registers}
    yield from (f"registers: {name} stands twice" for name in twice([row["id"] for row in registers]))
    places = [f"{row['register']}[{row['bit']}]" for row in bits]
    yield from (f"bits: {place} stands twice" for place in twice(places))
    yield from (f"bits: the name {name} stands twice" for name in twice([row["name"] for row in bits]))
    for consumer in CONSUMERS:  # a consumer may give a CPUID bit and the MSR bit it announces one name
        named = [f"{row['register']}.{plain(row[consumer])}" for row in bits if row[consumer]]
        yield from (f"bits: {consumer}'s name {name} stands twice" for name in twice(named))
    # Whoever gives a name may be anybody: within a register it has to mean one bit whosesoever it is.
    spoken = [
        f"{row['register']}.{name}"
        for row in bits
        for name in {plain(name) for name in (row["name"], *(row[consumer] for consumer in CONSUMERS)) if name}
    ]
    yield from (f"bits: the name {name} means two bits" for name in twice(spoken))
    for row in bits:
        where = f"bits: {row['name']}"
        if row["register"] not in widths:
            yield f"{where}: unknown register {row['register']}"
        elif not 0 <= int(row["bit"]) < widths[row["register"]]:
            yield f"{where}: bit {row['bit']} does not fit"
        if not re.fullmatch(r"[a-z][a-z0-9_]*", row["name"]):
            yield f"{where}: not a name"
        for column, allowed in (("kind", KINDS), ("pool", POOLS), ("status", STATUSES)):
            if row[column] not in allowed:
                yield f"{where}: {column} {row[column]!r}"
        if not row["meaning"].strip():
            yield f"{where}: no meaning"
    missing = set(range(64)) - {int(row["bit"]) for row in bits if row["register"] == "ia32_arch_capabilities"}
    yield from (f"bits: ia32_arch_capabilities[{bit}] is missing" for bit in sorted(missing))


def field_faults(registers: Rows, bits: Rows, fields: Rows) -> Iterator[str]:
    """Yield what is wrong with the fields of registers."""
    widths = {row["id"]: 64 if row["kind"] == "msr" else 32 for row in registers}
    taken = {(row["register"], int(row["bit"])): row["name"] for row in bits}
    names = [row["name"] for row in bits] + [row["name"] for row in fields]
    yield from (f"fields: the name {name} stands twice" for name in twice(names))
    for row in fields:
        where, low, high = f"fields: {row['name']}", int(row["low"]), int(row["high"])
        if row["register"] not in widths:
            yield f"{where}: unknown register {row['register']}"
            continue
        if not 0 <= low < high < widths[row["register"]]:
            yield f"{where}: bits {low} to {high} do not fit"
        for bit in range(low, high + 1):
            if (row["register"], bit) in taken:
                yield f"{where}: bit {bit} is {taken[row['register'], bit]} as well"
            taken[row["register"], bit] = row["name"]
        if not re.fullmatch(r"[a-z][a-z0-9_]*", row["name"]):
            yield f"{where}: not a name"
        if not row["meaning"].strip():
            yield f"{where}: no meaning"
        numbers = []
        for pair in filter(None, row["values"].split("|")):
            number, _, says = pair.partition("=")
            if not re.fullmatch(r"0x[0-9a-f]+", number) or not says or int(number, 16) >> (high - low + 1):
                yield f"{where}: value {pair!r}"
            numbers.append(number)
        yield from (f"{where}: value {number} stands twice" for number in twice(numbers))


def source_faults(name: str, rows: Rows) -> Iterator[str]:
    """Yield the rows that do not say where they come from."""
    for number, row in enumerate(rows, start=2):
        if not row.get("source", "").strip():
            yield f"{name}:{number}: no source"


def kernel_faults(behaviours: Rows, tables: dict[str, Rows]) -> Iterator[str]:
    """Yield what is wrong with the kernels' behaviours and the tables of readings."""
    names = [row["name"] for row in behaviours]
    yield from (f"behaviours: {name} stands twice" for name in twice(names))
    columns = [column for rows in tables.values() for column in rows[0] if column not in ("release", "source")]
    yield from (f"readings: column {name} stands twice" for name in twice(columns))
    yield from (f"readings: no column for {name}" for name in sorted(set(names) - set(columns)))
    yield from (f"readings: column {name} is no behaviour" for name in sorted(set(columns) - set(names)))
    for where, rows in tables.items():
        yield from (f"{where}: {name} stands twice" for name in twice([row["release"] for row in rows]))
        for name in set(rows[0]) & set(names):
            for row in rows:
                if row[name] not in ("", "0", "1"):
                    yield f"{where}: {row['release']}: {name} is {row[name]!r}"
            if {row[name] for row in rows} <= {"", "0"}:
                yield f"{where}: no release was ever seen with {name}"


def never_lost_faults(rows: Rows, readings: dict[str, Rows]) -> Iterator[str]:
    """Yield what is wrong with the behaviours that no kernel ever lost: a reading of a line says that one did."""
    where = "never_taken_away"
    yield from (f"{where}: {name} stands twice" for name in twice([row["behaviour"] for row in rows]))
    for name in (row["behaviour"] for row in rows):
        read = [row for table in readings.values() for row in table if row.get(name)]
        if not read:
            yield f"{where}: {name} is no behaviour that was read"
        has: dict[str, str] = {}
        for row in sorted(read, key=lambda row: Release.parse(row["release"]).version):
            line = Release.parse(row["release"]).line
            if row[name] == "0" and has.get(line):
                yield f"{where}: {name} is in {has[line]} and not in {row['release']}"
            elif row[name] == "1":
                has[line] = row["release"]


def observation_faults(behaviours: Rows, observations: Rows) -> Iterator[str]:
    """Yield what is wrong with how behaviours are observed; one that no row names is observed in the source."""
    names = [row["behaviour"] for row in observations]
    yield from (f"observations: {name} stands twice" for name in twice(names))
    unknown = sorted(set(names) - {row["name"] for row in behaviours})
    yield from (f"observations: {name} is no behaviour" for name in unknown)
    for row in observations:
        if not row["theme"].strip() or not row["observation"].strip():
            yield f"observations: {row['behaviour']}: no theme or no observation"
    themes = [theme for theme, _ in groupby(row["theme"] for row in observations)]
    yield from (f"observations: theme {theme} stands in two places" for theme in twice(themes))


def literals(cell: str) -> list[tuple[str, bool]]:
    """The literals of a cell of axioms.csv: names, each with the value that is meant."""
    return [(text.removeprefix("~"), not text.startswith("~")) for text in cell.split(" & ")] if cell else []


def clauses(axioms: Rows) -> Iterator[Clause]:
    """Yield the axioms as clauses: one literal of `when` does not hold, or this one of `then` does."""
    for row in axioms:
        unless = {(name, not value) for name, value in literals(row["when"])}
        yield from (frozenset(unless | {literal}) for literal in literals(row["then"]))


def satisfiable(found: list[Clause], given: dict[str, bool]) -> bool:
    """Whether values exist for the names that `given` lacks, with which every clause holds."""
    values = dict(given)
    while True:
        open_clauses = [clause for clause in found if not any(values.get(name) is value for name, value in clause)]
        left = [[literal for literal in clause if literal[0] not in values] for clause in open_clauses]
        if not all(left):
            return False
        units = [clause[0] for clause in left if len(clause) == 1]
        if not units:
            break
        for name, value in units:
            if values.setdefault(name, value) is not value:
                return False
    if not left:
        return True
    name, value = left[0][0]
    return any(satisfiable(open_clauses, {**values, name: choice}) for choice in (value, not value))


def axiom_faults(bits: Rows, axioms: Rows) -> Iterator[str]:
    """Yield what is wrong with the axioms, alone and together."""
    known = {row["name"] for row in bits} | set(CPU_LOOKUPS) | set(SILICON_LOOKUPS)
    yield from (f"axioms: {name} stands twice" for name in twice([row["name"] for row in axioms]))
    for row in axioms:
        where, when, then = f"axioms: {row['name']}", literals(row["when"]), literals(row["then"])
        if not re.fullmatch(r"[a-z][a-z0-9_]*", row["name"]):
            yield f"{where}: not a name"
        if not then:
            yield f"{where}: nothing follows"
        yield from (f"{where}: unknown name {name!r}" for name, _ in when + then if name not in known)
        yield from (f"{where}: {name} stands twice" for name in twice([name for name, _ in when + then]))
        if row["status"] not in AXIOM_STATUSES:
            yield f"{where}: status {row['status']!r}"
        if not row["meaning"].strip():
            yield f"{where}: no meaning"
    together = list(clauses(axioms))
    for vendor in VENDORS:
        if not satisfiable(together, {vendor: True}):
            yield f"axioms: together they leave no host with {vendor}"
    for row in axioms:
        case = dict(literals(row["when"]))
        if not any(satisfiable(together, {vendor: True, **case}) for vendor in VENDORS if case.get(vendor, True)):
            yield f"axioms: {row['name']}: the others leave no host that it speaks of"


def firecracker_faults(bits: Rows, tables: Path) -> Iterator[str]:
    """Yield what is wrong with what is known of Firecracker."""
    templates = read(tables / "firecracker" / "static_templates.csv")
    for number, row in enumerate(templates, start=2):
        where = f"firecracker/static_templates.csv:{number}"
        width = 32 if row["output"] else 64
        mask, value = int(row["mask"], 16), int(row["value"], 16)
        if mask >> width or value & ~mask:
            yield f"{where}: value {row['value']} is not within mask {row['mask']}"
        if bool(row["output"]) is not bool(row["subleaf"] and row["flags"]):
            yield f"{where}: a CPUID word has subleaf, output and flags, an MSR none of them"
    hosts = {row["template"] for row in read(tables / "firecracker" / "template_hosts.csv")}
    named = {row["template"] for row in templates}
    yield from (f"firecracker: {name} has no hosts, or no modifiers" for name in sorted(hosts ^ named))
    behaviours = {row["name"] for row in read(tables / "firecracker" / "behaviours.csv")}
    known = {row["name"] for row in bits}
    for row in read(tables / "firecracker" / "normalisation.csv"):
        if row["bit"] not in known or row["value"] not in ("0", "1"):
            yield f"firecracker/normalisation.csv: {row['bit']}={row['value']}"
        if row["behaviour"] and row["behaviour"] not in behaviours:
            yield f"firecracker/normalisation.csv: unknown behaviour {row['behaviour']}"


def xen_faults(bits: Rows, tables: Path) -> Iterator[str]:
    """Yield what is wrong with Xen's rules of levelling."""
    known = {row["name"] for row in bits}
    rows = read(tables / "xen" / "levelling.csv")
    yield from (f"xen/levelling.csv: {name} stands twice" for name in twice([row["bit"] for row in rows]))
    for row in rows:
        if row["bit"] not in known:
            yield f"xen/levelling.csv: unknown bit {row['bit']}"
        if not re.fullmatch(r"always|host(_[a-z_]+)?", row["max_policy"]):
            yield f"xen/levelling.csv: {row['bit']}: max_policy {row['max_policy']!r}"
        if not re.fullmatch(r"always|host(_[a-z_]+)?", row["default_policy"]):
            yield f"xen/levelling.csv: {row['bit']}: default_policy {row['default_policy']!r}"


def proxmox_faults(tables: Path) -> Iterator[str]:
    """Yield what is wrong with what is known of Proxmox VE."""
    vendors = read(tables / "proxmox" / "vendors.csv")
    models = [row["model"] for row in vendors]
    yield from (f"proxmox/vendors.csv: {name} stands twice" for name in twice(models))
    for row in vendors:
        if row["vendor"] not in ("", "GenuineIntel", "AuthenticAMD"):
            yield f"proxmox/vendors.csv: vendor {row['vendor']!r}"
    for row in read(tables / "proxmox" / "builtin_models.csv"):
        if row["reported_model"] not in models:
            yield f"proxmox/builtin_models.csv: unknown model {row['reported_model']}"
        if not re.fullmatch(r"\+[\w.-]+(;\+[\w.-]+)*", row["flags"]):
            yield f"proxmox/builtin_models.csv: flags {row['flags']!r}"
    flags = [row["flag"] for row in read(tables / "proxmox" / "vm_flags.csv")]
    yield from (f"proxmox/vm_flags.csv: {name} stands twice" for name in twice(flags))


def change_faults(bits: Rows, silicon: Rows, changes: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the table of changes: names that nobody knows, nothing that says why."""
    known, columns = {row["name"] for row in bits}, set(silicon[0])
    for name, kind in changes["kind"].items():
        if kind["needs"] not in changes["needs"]:
            yield f"changes: {name}: needs {kind['needs']!r}, which is not explained"
        if not kind["reason"].strip() or kind["cost"] < 1:
            yield f"changes: {name}: no reason, or no cost"
    named = [row["name"] for row in changes["bit"]]
    yield from (f"changes: bit {name} stands twice" for name in twice(named))
    wanted = [*named, *(row["bit"] for row in changes["microcode"])]
    yield from (f"changes: unknown bit {name!r}" for name in wanted if name not in known)
    for row in changes["option"]:
        if row.get("compiled", "mds_off") not in KERNEL_LOOKUPS:
            yield f"changes: option {row['name']}: unknown look-up {row['compiled']!r}"
    for row in changes["microcode"]:
        if not set(row["columns"]) <= columns or not row["source"].strip():
            yield f"changes: microcode against {row['vulnerability']}: unknown columns, or no source"


def faults(tables: Path = TABLES) -> list[str]:
    """Return every fault of the tables in a folder."""
    registers, bits = read(tables / "registers.csv"), read(tables / "bits.csv")
    found = list(bit_faults(registers, bits))
    found += field_faults(registers, bits, read(tables / "fields.csv"))
    readings = {f"kernels/readings/{path.name}": read(path) for path in (tables / "kernels" / "readings").glob("*.csv")}
    found += kernel_faults(read(tables / "kernels" / "behaviours.csv"), readings)
    observations = read(tables / "kernels" / "observations.csv")
    found += observation_faults(read(tables / "kernels" / "behaviours.csv"), observations)
    found += never_lost_faults(read(tables / "kernels" / "never_taken_away.csv"), readings)
    found += axiom_faults(bits, read(tables / "silicon" / "axioms.csv"))
    found += qemu_faults(tables, bits)
    found += firecracker_faults(bits, tables)
    found += xen_faults(bits, tables)
    found += proxmox_faults(tables)
    with (tables / "changes.toml").open("rb") as file:
        changes = tomllib.load(file)
    found += change_faults(bits, read(tables / "silicon" / "intel_affected.csv"), changes)
    sourced = [
        "registers.csv", "bits.csv", "fields.csv", "kernels/behaviours.csv", "kernels/observations.csv",
        "kernels/never_taken_away.csv", "kernels/own_texts.csv", *sorted(readings),
        "linux_lists/releases.csv", "linux_lists/old_microcode.csv", "silicon/vendors.csv",
        "silicon/parts.csv", "silicon/unverified.csv", "silicon/axioms.csv",
        "firecracker/behaviours.csv", "firecracker/normalisation.csv", "firecracker/static_templates.csv",
        "firecracker/template_hosts.csv", "xen/levelling.csv",
        "proxmox/builtin_models.csv", "proxmox/vendors.csv", "proxmox/vm_flags.csv",
        "libvirt/releases.csv", "libvirt/qemu_names.csv", *SOURCED, "fleet/recipes.csv",
        "feature_words.csv", "kvm_features.csv", "silicon/part_features.csv",
    ]  # fmt: skip
    for name in sourced:
        found += source_faults(name, read(tables / name))
    # Tables copied whole have one source for all rows, in sources.csv.
    whole = read(tables / "sources.csv")
    found += source_faults("sources.csv", whole)
    known = set(sourced) | {row["table"] for row in whole} | {"sources.csv"}
    for path in sorted(tables.rglob("*.csv")):
        name = path.relative_to(tables).as_posix()
        if name not in known and not name.startswith("linux_lists/"):
            found.append(f"{name}: not known to this check")
    listed = {row["list"] for row in read(tables / "linux_lists" / "releases.csv")}
    for path in sorted((tables / "linux_lists").glob("*list-*.csv")):
        if path.stem.split("-", 1)[1] not in listed:
            found.append(f"{path.name}: no release has this list")
    found += libvirt_faults(tables)
    return found


def main() -> int:
    found = faults()
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
