"""Write archcaps' tables of QEMU from what tools/qemu/record.py recorded.

Usage: python tools/qemu/tables.py RECORD...

Each record is one release; a release in between two recorded ones is worked out by the loader, as far as both agree.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parents[2] / "src" / "archcaps" / "tables" / "qemu"
#: Second names of a feature: the value is one and the same. Source: QEMU target/i386/cpu.c x86_cpu_initfn
SECOND_NAMES = {
    "sse4-1": "sse4.1", "sse4_1": "sse4.1", "sse4-2": "sse4.2", "sse4_2": "sse4.2", "xd": "nx", "ffxsr": "fxsr-opt",
    "i64": "lm", "pclmuldq": "pclmulqdq",
}  # fmt: skip
#: True-or-false settings that are no bits of the CPU; releases before 9 do not tell them from features.
OPTIONS = {
    "check", "cpuid-0xb", "enforce", "fill-mtrr-mask", "full-cpuid-auto-level", "host-cache-info", "host-phys-bits",
    "kvm", "l3-cache", "lmce", "migratable", "pmu", "start-powered-off", "tcg-cpuid", "vmware-cpuid-freq",
    "legacy-cache", "legacy-multi-node", "xen-vapic", "kvm-no-smi-migration", "kvm-pv-enforce-cpuid",
}  # fmt: skip
IDENTITY = ("vendor", "family", "model", "stepping")
#: What TCG alone switches off. Source: QEMU target/i386/tcg/tcg-cpu.c x86_tcg_default_props; seen in every record
TCG_OFF = {"vme"}
UPSTREAM = re.compile(r"pc-(?:i440fx|q35)-\d+\.\d+(?:\.\d+)?|microvm|isapc|x-remote\Z")

#: Versions that a distribution added to a release of its own: no other QEMU of that release has them.
DISTRIBUTIONS_OWN = {("6.2", "EPYC-v4"), ("6.2", "EPYC-Rome-v3"), ("6.2", "EPYC-Milan-v2")}

Record = dict[str, Any]


def number(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


def kind(name: str, described: set[str]) -> str:
    if name.startswith("hv-"):
        return "hyperv"
    if name in OPTIONS or name.startswith("x-") or name in described:
        return "option"
    if name in SECOND_NAMES or "_" in name:
        return "alias"
    return "vmx" if name.startswith("vmx-") else "kvm" if name.startswith("kvm") else "feature"


def spans(releases: list[str], seen: Iterable[str]) -> list[tuple[str, str]]:
    """The runs of recorded releases in which something was seen, each as its first and its last."""
    found: list[tuple[str, str]] = []
    previous = -2
    for place in sorted(releases.index(release) for release in seen):
        if place == previous + 1:
            found[-1] = (found[-1][0], releases[place])
        else:
            found.append((releases[place], releases[place]))
        previous = place
    return found


def write(name: str, header: list[str], rows: Iterable[list[str]]) -> None:
    with (TABLES / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def features(records: dict[str, Record]) -> dict[str, str]:
    """Write every property of a CPU, and return the kind of each."""
    described = {
        each["name"] for record in records.values() for each in record["properties"] if each.get("description")
    } - {"vmx", "svm"}
    kinds, seen = {}, defaultdict(set)
    for release, record in records.items():
        for each in record["properties"]:
            name = each["name"]
            if each["type"] == "bool":
                kinds[name] = kind(name, described)
            elif each["type"].startswith(("int", "uint", "str", "OnOffAuto")) and each["type"] != "strList":
                kinds[name] = "hyperv" if name.startswith("hv-") else "value"
            else:
                continue
            seen[name].add(release)
    rows = []
    for name in sorted(kinds):
        of = SECOND_NAMES.get(name, name.replace("_", "-")) if kinds[name] == "alias" else ""
        rows += [[name, kinds[name], of, *span] for span in spans(list(records), seen[name])]
    write("properties.csv", ["name", "kind", "of", "first", "last"], rows)
    return kinds


def on(model: Record, kinds: dict[str, str]) -> frozenset[str]:
    return frozenset(name for name, value in model.items() if value is True and kinds.get(name) == "feature")


def definition(record: Record, name: str, kinds: dict[str, str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """The identity and the features of a model as QEMU defines it, whatever the accelerator adds or takes away."""
    model = record["models"][name]
    kvm = {feature for feature in TCG_OFF if record["kvm"][name].get(feature)}
    identity = tuple(str(model[key]).strip() if key != "vendor" else model[key] for key in IDENTITY)
    return identity, on(model, kinds) | kvm


def models(records: dict[str, Record], kinds: dict[str, str]) -> None:
    seen: dict[tuple[str, int], dict[Any, list[str]]] = defaultdict(lambda: defaultdict(list))
    fixed: dict[tuple[str, str], list[str]] = defaultdict(list)
    for release, record in records.items():
        for name in record["models"]:
            match = re.fullmatch(r"(.+)-v(\d+)", name)
            if match is None or (release, name) in DISTRIBUTIONS_OWN:
                continue
            model, version = match[1], int(match[2])
            identity, found = definition(record, name, kinds)
            before = definition(record, f"{model}-v{version - 1}", kinds)[1] if version > 1 else frozenset()
            words = [f"+{each}" for each in sorted(found - before)] + [f"-{each}" for each in sorted(before - found)]
            seen[model, version][(*identity, " ".join(words))].append(release)
        for each in record["definitions"]:
            alias = each.get("alias-of")
            if alias and alias.rpartition("-v")[0] != each["name"]:
                fixed[each["name"], alias].append(release)
    rows = []
    for (model, version), variants in sorted(seen.items(), key=lambda item: (item[0][0].lower(), item[0][1])):
        for row, releases in variants.items():
            rows += [[model, str(version), *span, *row] for span in spans(list(records), releases)]
    write("models.csv", ["name", "version", "first", "last", "vendor", "family", "model", "stepping", "features"], rows)
    rows = [
        [name, alias, *span]
        for (name, alias), releases in sorted(fixed.items())
        for span in spans(list(records), releases)
    ]
    write("aliases.csv", ["name", "means", "first", "last"], rows)


def machines(records: dict[str, Record], kinds: dict[str, str]) -> None:
    """Write what a plain model name means on each machine type, and what old machine types change."""
    seen: dict[tuple[str, ...], list[str]] = defaultdict(list)
    changes: dict[tuple[str, str, str, str], set[str]] = defaultdict(set)
    for release, record in records.items():
        for machine, found in record["machines"].items():
            if not UPSTREAM.fullmatch(machine):
                continue
            plain = {name: alias for name, alias in found["aliases"].items() if alias.rpartition("-v")[0] == name}
            newest = any(not alias.endswith("-v1") for alias in plain.values())
            always = {model.get("x-arch-cap-always-on") for model in found["differs"].values()} - {None}
            always_on = "" if "x-arch-cap-always-on" not in record["models"]["base"] else "01"[always == {True}]
            seen[machine, "newest" if newest else "1", always_on].append(release)
            if newest:
                continue  # what differs there is another version, not another definition
            for name, differs in found["differs"].items() if machine.startswith("pc-") else ():
                for key, value in differs.items():
                    if kinds.get(key) == "feature" or key in IDENTITY:
                        said = str(value) if key in IDENTITY else "on" if value else "off"
                        changes[release, key, said, machine].add(name)
    rows = [
        [machine, *span, plain, always]
        for (machine, plain, always), releases in seen.items()
        for span in spans(list(records), releases)
    ]
    rows.sort(key=lambda row: (row[0].rpartition("-")[0], number_or_none(row[0]), row[0], number(row[1])))
    write("machines.csv", ["machine", "first", "last", "plain_name_means_version", "arch_cap_always_on"], rows)
    write("machine_changes.csv", ["property", "value", "models", "first", "last"], machine_changes(changes, seen))


def machine_changes(
    changes: dict[tuple[str, str, str, str], set[str]], seen: Iterable[tuple[str, ...]]
) -> list[list[str]]:
    """The changes that old pc machine types make, each for a run of machine types."""
    order = sorted({number_or_none(row[0])[0] for row in seen} - {()})
    on_machines: dict[tuple[str, str, str], set[tuple[int, ...]]] = defaultdict(set)
    for (_, key, said, machine), names in changes.items():
        for name in names:
            on_machines[key, said, name].add(number_or_none(machine)[0])
    runs: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for (key, said, name), where in on_machines.items():
        first, last = min(where), max(where)
        between = [version for version in order if first <= version <= last]
        assert set(between) == where, (key, name, sorted(where))
        span = ["" if version == order[0] else dotted(version) for version in (first,)] + [dotted(last)]
        runs[(key, said, *span)].append(name)
    return sorted([key, said, " ".join(sorted(names)), first, last] for (key, said, first, last), names in runs.items())


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def number_or_none(machine: str) -> tuple[tuple[int, ...], str]:
    match = re.search(r"-(\d+(?:\.\d+)+)\Z", machine)
    return (number(match[1]) if match else (), machine)


def main(files: list[str]) -> None:
    found = [json.loads(Path(file).read_text(encoding="utf-8")) for file in files]
    found.sort(key=lambda record: number(record["release"]))
    records = {".".join(record["release"].split(".")[:2]): record for record in found}
    TABLES.mkdir(exist_ok=True)
    kinds = features(records)
    models(records, kinds)
    machines(records, kinds)
    write(
        "releases.csv",
        ["release", "recorded", "source"],
        [
            [release, record["release"], f"answers of QEMU {record['release']} ({record['package']}) over QMP"]
            for release, record in records.items()
        ],
    )


if __name__ == "__main__":
    main(sys.argv[1:])
