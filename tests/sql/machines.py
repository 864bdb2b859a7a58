"""Random rows of hosts and guests as a warehouse has them: words of any bits, masks, and much that is not known."""

from __future__ import annotations

import json
import random
from typing import Any

from archcaps.machine.row import COLUMNS, signed
from archcaps.questions.many.judge import questions
from archcaps.tables.bits import REGISTERS
from archcaps.tables.kernels import BEHAVIOURS
from archcaps.tables.names import VULNERABILITIES
from tests.questions.machines import CMDLINES, PARTS, RELEASES

__all__ = ["random_guests", "random_hosts"]

Row = dict[str, Any]
#: Characters that a key or a literal has to get right.
_ODD = ["console=ttyS0|mds=off", "quote='x' ||=a|-", "|", " ", "mds=full\u00e9"]


def random_hosts(dice: random.Random, count: int) -> list[Row]:
    return [{"name": f"host {number}", **_machine(dice, "host")} for number in range(count)]


def random_guests(dice: random.Random, count: int, hosts: list[Row]) -> list[Row]:
    found = []
    for number in range(count):
        host = dice.choice(hosts)
        row = {"name": f"guest {number}", "host": host["name"], **_machine(dice, "guest")}
        if dice.random() < 0.5:  # a guest mostly gets its host's CPU
            row |= {name: host[name] for name in ("vendor", "family", "model", "stepping") if name in host}
        found.append(row)
    return found


def _machine(dice: random.Random, role: str) -> Row:
    known = dice.choice((0.5, 0.9, 1, 1))  # of all that there is to know
    vendor, family, model, stepping = dice.choice(PARTS)
    row: Row = {
        "vendor": vendor, "family": family, "model": model, "stepping": stepping, "core_type": dice.choice((0, 0x20)),
        "microcode": dice.choice((0, 0x0A0011D6, 0x0A0011D7)), "platform_id": dice.randrange(8),
        "smt_active": dice.random() < 0.5, "smt_supported": True, "ls_cfg_readable": dice.random() < 0.5,
        "kernel": dice.choice(RELEASES), "config": dice.choice(("upstream-defaults", "debian-cloud")),
        "cmdline": dice.choice([*CMDLINES, "", "", *_ODD]),
    }  # fmt: skip
    if role == "host":
        row["kvm_parameters"] = dice.choice(('{"ept":"Y","vmentry_l1d_flush":"auto"}', '{"ept":"N"}'))
    else:
        row |= {"has_assigned_device": dice.random() < 0.5, "has_mapped_host_mmio": dice.random() < 0.5}
    for name, register in REGISTERS.items():
        row[name] = signed(dice.getrandbits(register.width))
    bare = row["cpuid_1_ecx"] & ~(1 << 31)
    row["cpuid_1_ecx"] = bare if role == "host" and dice.random() < 0.9 else bare | 1 << 31
    row = {name: value for name, value in row.items() if dice.random() < known}
    for name, register in REGISTERS.items():
        if name in row and dice.random() < 0.2:
            row[f"{name}_known"] = signed(dice.getrandbits(register.width))
    if dice.random() < 0.1:
        row["behaviours"] = json.dumps({name: dice.random() < 0.5 for name in dice.sample(list(BEHAVIOURS), 3)})
    if dice.random() < 0.2:
        texts = {name: dice.choice(questions()[f"{name}_concludes"].labels) for name in VULNERABILITIES}
        row["vulnerabilities"] = json.dumps({name: text for name, text in texts.items() if text is not None})
    if role == "guest" and dice.random() < 0.1:
        row["system"] = "windows"
    if role == "host" and dice.random() < 0.3:
        for name in ("ia32_arch_capabilities", "cpuid_7_0_edx", "cpuid_80000021_eax"):
            row[f"kvm_offered_{name}"] = signed(dice.getrandbits(REGISTERS[name].width))
            if dice.random() < 0.5:
                row[f"kvm_offered_{name}_known"] = signed(dice.getrandbits(REGISTERS[name].width))
    assert not row.keys() - COLUMNS[role].keys()  # type: ignore[index]  # "host" or "guest"
    return row
