"""The hosts of a pool, from snapshots, probes or tables, grouped to classes: hosts that are alike are one."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from glob import glob, has_magic
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import msgspec

from archcaps.errors import InputError
from archcaps.fleet.inventory import FORMATS, find_hosts
from archcaps.fleet.summary import kernel_name, machine_name
from archcaps.machine.facts import part_of
from archcaps.machine.read import check_snapshot, read_snapshot
from archcaps.machine.row import row_of, snapshot_of
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.check import refuse_other_cpus
from archcaps.questions.default_guest import default_guest

__all__ = ["MAX_CLASSES", "HostClass", "classes_of", "read_hosts"]

#: More different hosts than any pool that shares a CPU: so many are answered within seconds.
MAX_CLASSES: Final = 200
_SNAPSHOTS: Final = (".toml", ".json")


@dataclass(frozen=True)
class HostClass:
    """Hosts that are alike in all that the verdicts ask: one of them, how many there are, and the name of one."""

    snapshot: Snapshot
    row: dict[str, Any]
    count: int
    example: str

    @cached_property
    def offered(self) -> Snapshot:
        """What KVM offers a guest there by default."""
        return default_guest(self.snapshot)

    @property
    def name(self) -> str:
        """The class in a line: CPU and kernel."""
        return machine_name(self.row)


def read_hosts(sources: Sequence[str]) -> list[HostClass]:
    """Return the classes of the hosts in files: snapshots (TOML or JSON), NDJSON, Parquet, CSV or DuckDB; or globs.

    Raises:
        InputError: a file cannot be read, holds no host, or a row of it cannot be used; or no host is named.
    """
    found: list[HostClass] = []
    for source in sources:
        paths = sorted(glob(source, recursive=True)) if has_magic(source) else [source]  # noqa: PTH207  # absolute too
        if not paths:
            raise InputError("no file matches", source)
        for path in paths:
            found += _of_file(path)
    return classes_of(found)


def classes_of(hosts: Iterable[HostClass | Snapshot]) -> list[HostClass]:
    """Return the different ones of some hosts or classes, with how many of each there are.

    Raises:
        InputError: there are none or too many, they are no x86 hosts, or they are of two vendors.
    """
    merged: dict[bytes, HostClass] = {}
    for host in hosts:
        one = host if isinstance(host, HostClass) else _class(host, row_of(host), 1, host.name or "host")
        tries = (one.snapshot.kvm.accepts, one.snapshot.kvm.vcpu_initial)
        key = msgspec.json.encode([dict(sorted(one.row.items())), *tries])
        known = merged.get(key)
        merged[key] = one if known is None else replace(known, count=known.count + one.count)
    found = list(merged.values())
    if not found:
        raise InputError("no host", "pool")
    _refuse_too_many(len(found), "pool")
    _refuse_strangers(found)
    return _told_apart(found)


def _told_apart(found: Sequence[HostClass]) -> list[HostClass]:
    """Return the classes with different names: those of one name are told apart by their kernels, else by numbers."""
    names = Counter(one.example for one in found)
    named = [
        replace(one, example=f"{one.example}, {kernel_name(one.row)}") if names[one.example] > 1 else one
        for one in found
    ]
    again, numbers = Counter(one.example for one in named), Counter[str]()
    for place, one in enumerate(named):
        if again[one.example] > 1:
            numbers[one.example] += 1
            named[place] = replace(one, example=f"{one.example}, class {numbers[one.example]}")
    return named


def _refuse_too_many(classes: int, where: str) -> None:
    if classes > MAX_CLASSES:
        raise InputError(f"{classes} different hosts (a pool has at most {MAX_CLASSES} classes of them)", where)


def _refuse_strangers(found: Sequence[HostClass]) -> None:
    vendors: dict[str, HostClass] = {}
    for one in found:
        part = part_of(one.snapshot)
        if None in (part.vendor, part.family, part.model, part.stepping):
            raise InputError("its CPU's vendor, family, model and stepping must be known", one.example)
        check_snapshot(one.snapshot, one.example, "host")
        refuse_other_cpus(one.snapshot)
        vendors.setdefault(str(part.vendor), one)
    if len(vendors) > 1:
        (first, one), (second, other), *_ = vendors.items()
        raise InputError(
            f"{one.example} is {first}, {other.example} is {second}: a guest cannot move between vendors "
            "(make one pool of each)", "pool",
        )  # fmt: skip


def _of_file(path: str) -> list[HostClass]:
    suffix = Path(path).suffix.lower()
    if suffix in _SNAPSHOTS or (suffix not in FORMATS and not Path(path).is_dir()):
        snapshot = read_snapshot(path, "host")
        return [_class(snapshot, row_of(snapshot), 1, snapshot.name or Path(path).stem)]
    return _of_table(path)


def _of_table(path: str) -> list[HostClass]:
    """Return the classes of a table's hosts; a row that cannot be used is refused, for its host is in the pool."""
    from archcaps.fleet.duck import DuckDb  # noqa: PLC0415  # snapshots need no engine

    inventory = find_hosts(path)
    work = Path(mkdtemp(prefix="archcaps-pool-"))
    try:
        engine = DuckDb(inventory, work)
        try:
            classes = engine.host_classes()
            rejected = engine.rejected(work / "rejected.parquet")
        finally:
            engine.close()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _refuse_too_many(len(classes), inventory.hosts.where)
    bad = [(reason, example) for role, reason, _, example in rejected if role != "guest"]
    if bad:
        raise InputError(f"host {bad[0][1]}: {bad[0][0]}", inventory.hosts.where)
    return [
        _class(snapshot_of(row, "host", source=path, name=example), row, count, example)
        for row, count, example in sorted(classes, key=lambda one: one[2])
    ]


def _class(snapshot: Snapshot, row: dict[str, Any], count: int, example: str) -> HostClass:
    known = {name: value for name, value in row.items() if value is not None}
    return HostClass(snapshot, known, count, example)
