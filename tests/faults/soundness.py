"""Machines with facts taken away, or replaced by values that no machine has; and what may not become of a verdict.

A row is that of `archcaps.machine.row`, so `check` and `audit` are asked about the same. A fact that is taken away
leaves every verdict that was possible possible. One that no machine has is refused, or leaves nothing better than
it was: what was exposed or undecided is not safe, and what was no truth, or undecided, is not the truth.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final, Literal

import numpy as np

from archcaps.errors import InputError
from archcaps.fleet.classes import Classes, judge
from archcaps.machine.read import read_snapshot
from archcaps.machine.row import COLUMNS, WORDS, row_of, snapshot_of
from archcaps.questions.check import check
from archcaps.questions.many.columns import Machines
from archcaps.questions.results import FINE
from archcaps.tables.names import VULNERABILITIES

ROOT: Final = Path(__file__).parents[2]
Role = Literal["host", "guest"]
Row = dict[str, Any]
QUESTIONS: Final = tuple(f"{name}_{what}" for name in VULNERABILITIES for what in ("truth", "safety", "host_safety"))
#: The possible answers of each question; None: refused.
Answers = Mapping[str, frozenset[str]] | None

#: What no kernel writes into any file of /sys/devices/system/cpu/vulnerabilities, or not into that of the VERW family.
TEXTS: Final = (
    "", " ", "not affected", "Not Affected", "NOT AFFECTED", "Not affected.", "affected", "Mitigation", "Mitigation:",
    "Mitigation: Foo", "Mitigation: PTI", "Mitigated", "vulnerable", "Vulnerable: foo", "Unknown", "0", "null",
    "Mitigation: Clear CPU buffers; SMT perhaps", "Mitigation; Foo", "KVM: Mitigation: VMX disabled; SMT vulnerable",
    "Mitigation: Enhanced / Automatic IBRS; IBPB: conditional; RSB filling", "Not affected\nNot affected",
)  # fmt: skip
_ONES: Final = -1  # all 64 bits
#: By column, values that no machine has there.
IMPOSSIBLE: Final[Mapping[str, tuple[Any, ...]]] = {
    "vendor": ("Foo", "", "genuineintel", "CentaurHauls"),
    "family": (0x99, -1, 1 << 20),
    "stepping": (99, -1, 16),
    "model": (-1, 0x1FF, 1 << 17),
    "core_type": (-1, 1 << 17),
    "microcode": (1 << 40, -1, 1 << 62),
    "platform_id": (-1, 9, 1 << 20),
    "kernel": ("foo", "", "6", "-1.2.3", "kernel", "99.1.2", "6.x"),
    "config": ("foo", "{]", '{"A": 1}'),
    "behaviours": ("{]", '{"foo": true}', '{"has_mds": 3}'),
    "kvm_parameters": ("{]", '{"ept": "perhaps"}', '{"vmentry_l1d_flush": "perhaps"}', '{"nx_huge_pages": "perhaps"}'),
    "vulnerabilities": ("{]", '{"foo": "Not affected"}', '{"mds": 3}'),
    "system": ("foo", "dos"),
    **dict.fromkeys(WORDS, (_ONES,)),
    **{f"kvm_offered_{word}": (_ONES,) for word in WORDS},
}


@dataclass(frozen=True)
class Pair:
    """A host and a guest on it, as rows."""

    name: str
    host: Row
    guest: Row


def _known_vm(row: Row) -> Row:
    """Say what KVM sees of the guest, so that there is something to take away."""
    return {"has_assigned_device": False, "has_mapped_host_mmio": False, **row}


def pairs() -> list[Pair]:
    """Return every host of the examples with every guest of its case (the sample fleet is made of these machines)."""
    found = []
    for folder in sorted((ROOT / "examples").iterdir()):
        paths = [path for path in sorted(folder.glob("*.toml")) if _is_snapshot(path)]
        machines = {path.stem: read_snapshot(path) for path in paths}
        hosts = {name: row_of(one) for name, one in machines.items() if one.role == "host"}
        guests = {name: _known_vm(row_of(one)) for name, one in machines.items() if one.role == "guest"}
        found += [
            Pair(f"{folder.name}: {of} on {on}", host, guest)
            for on, host in hosts.items()
            for of, guest in guests.items()
        ]
    return found


def _is_snapshot(path: Path) -> bool:
    return "format_version" in path.read_text(encoding="utf-8")


def by_check(host: Row, guest: Row, assumptions: Collection[str] = ()) -> Answers:
    """Return what `check` says."""
    try:
        for role, row in (("host", host), ("guest", guest)):
            _checked(row, role)
        said = check(snapshot_of(host, "host"), snapshot_of(guest, "guest"), assumptions, brief=True)
    except InputError:
        return None
    return {
        f"{one.vulnerability}_{what}": frozenset(getattr(one, what).possible)
        for one in said.vulnerabilities
        for what in ("truth", "safety", "host_safety")
    }


def _checked(row: Row, role: str) -> None:
    from archcaps.machine.read import check_snapshot  # noqa: PLC0415  # beside its only use

    check_snapshot(snapshot_of(row, role), role, None)  # type: ignore[arg-type]  # one of the two


def by_audit(rows: list[tuple[Row, Row]], assumptions: Collection[str] = ()) -> list[Answers]:
    """Return what `audit` says of many pairs."""
    hosts = _machines("host", [host for host, _ in rows], assumptions)
    guests = _machines("guest", [guest for _, guest in rows], assumptions)
    each = np.arange(len(rows), dtype=np.intp)
    judged = judge(Classes(hosts, guests, each, each, np.ones(len(rows), dtype=np.int64)))
    found: list[Answers] = []
    for number in range(len(rows)):
        if judged.verdict[number] < 0:
            found.append(None)
            continue
        found.append({
            column: frozenset(
                label for place, label in enumerate(judged.labels[column])
                if int(judged.possible[column][number]) >> place & 1
            )
            for column in QUESTIONS
        })  # fmt: skip
    return found


def _machines(role: Role, rows: list[Row], assumptions: Collection[str]) -> Machines:
    columns = {name: [row.get(name) for row in rows] for name in COLUMNS[role] if any(name in row for row in rows)}
    return Machines(role, len(rows), columns, frozenset(assumptions))


def less(row: Row, dice: Random) -> Row:
    """Return the row with some of its facts taken away: columns, bits of words, single texts."""
    share = dice.choice((0.05, 0.15, 0.4))
    found = dict(row)
    for name in sorted(row):
        if name.endswith("_known") or name == "system":
            continue
        if dice.random() >= share:
            continue
        if name.removeprefix("kvm_offered_") in WORDS and dice.random() < 0.7:
            gone = dice.getrandbits(64) & dice.getrandbits(64)
            found[f"{name}_known"] = _signed(found.get(f"{name}_known", -1) & ~gone)
        elif name in ("vulnerabilities", "kvm_parameters", "behaviours") and dice.random() < 0.7:
            kept = {key: value for key, value in json.loads(row[name]).items() if dice.random() < 0.6}
            if name != "behaviours":  # what is not observed is the release's
                found[name] = json.dumps(kept) if kept else None
        elif name != "behaviours":
            found[name] = None
    return found


def _signed(word: int) -> int:
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word


def spoilt(row: Row, role: Role, dice: Random) -> tuple[Row, str]:
    """Return the row with one value that no machine has, and which."""
    if dice.random() < 0.5:
        texts = json.loads(row.get("vulnerabilities") or "{}")
        name = dice.choice(sorted(texts) or list(VULNERABILITIES))
        texts[name] = dice.choice(TEXTS)
        return {**row, "vulnerabilities": json.dumps(texts)}, f"{role} {name}: {texts[name]!r}"
    names = [name for name in sorted(IMPOSSIBLE) if name in COLUMNS[role]]
    name = dice.choice(names)
    value = dice.choice(IMPOSSIBLE[name])
    if name.removeprefix("kvm_offered_") in WORDS:
        row = {**row, f"{name}_known": None}
    return {**row, name: value}, f"{role} {name}: {value!r}"


def worse_than_said(before: Answers, after: Answers, *, removed: bool) -> Iterator[str]:
    """Yield each question whose new answer promises more than the facts that are left carry."""
    if before is None or after is None:
        return
    for question, was in before.items():
        now = after[question]
        if removed:
            bad = not was <= now
        elif question.endswith("_truth"):
            bad = not was <= FINE and now <= FINE
        else:
            bad = "exposed" in was and now == {"safe"}
        if bad:
            yield f"{question}: {sorted(was)} -> {sorted(now)}"
