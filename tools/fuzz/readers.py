"""Every reader of archcaps with real examples of what it reads: what `tools.fuzz.run` feeds with mutants of them.

A reader takes bytes and reads them as the command line does; what follows on reading (a verdict, an expansion) is done
for one in `DEEP` that could be read. It may raise `InputError`, and nothing else.
"""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Final

import msgspec

import archcaps
from archcaps.errors import InputError
from archcaps.guest_cpu.asked import VMMS, Asked, Vmm
from archcaps.guest_cpu.formats import expand, read_configuration

__all__ = ["DEEP", "Reader", "readers", "scratch"]

ROOT: Final = Path(__file__).resolve().parents[2]
EXAMPLES: Final = ROOT / "examples"
LIBVIRT: Final = ROOT / "tests" / "guest_cpu" / "data" / "libvirt"
#: What follows on reading is done for one in so many.
DEEP: Final = 20

COMMAND_LINES: Final = (
    b"", b"BOOT_IMAGE=/boot/vmlinuz root=UUID=0c5a ro quiet mitigations=off", b"mds=full,nosmt tsx=auto l1tf=flush",
    b"spectre_v2=retpoline,lfence spec_store_bypass_disable=prctl nosmt=force", b"mitigations=auto;no_user_kernel -- x",
    b'a="b c" nopti nospectre_v1 tsa=user vmscape=force clearcpuid=514,avx', b"srbds=off gather_data_sampling=force",
    b"kvm-intel.ept=0 kvm.ignore_msrs=1 retbleed=auto,nosmt spec_rstack_overflow=safe-ret",
)  # fmt: skip
CONFIGURATIONS: Final = (
    b"CONFIG_CPU_MITIGATIONS=y\nCONFIG_MITIGATION_MDS=y\n# CONFIG_MITIGATION_TAA is not set\n",
    b"CONFIG_X86_INTEL_TSX_MODE_AUTO=y\nCONFIG_MITIGATION_TSA=y\nCONFIG_PAGE_TABLE_ISOLATION=y\nCONFIG_KVM_INTEL=m\n",
    b"CONFIG_SPECULATION_MITIGATIONS=y\nCONFIG_MITIGATION_SRSO=y\nCONFIG_RETPOLINE=y\nCONFIG_XEN_PV=y\n",
)
RELEASES: Final = (
    b"6.12.117", b"7.3.4", b"7.4-rc2", b"6.1.0-49-amd64\n#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-1 (2026-11-10)",
    b"6.8.0-88-generic\nUbuntu 6.8.0-88.89-generic 6.8.12", b"5.14.0-611.5.1.el9_7.x86_64", b"6.8.12-43-pve",
    b"6.18.30-61.116.amzn2023.x86_64", b"5.15.167.4-microsoft-standard-WSL2", b"4.18.0-553.el8_10.x86_64",
)  # fmt: skip
QEMU_LINES: Final = (
    b"qemu-system-x86_64 -accel kvm -machine pc-q35-9.0 -cpu Cascadelake-Server-v7,-md-clear,enforce -smp 4",
    b"-cpu host,migratable=off,+md-clear", b"qemu:Icelake-Server,mds-no=on", b"kvm -cpu EPYC-Rome,check=off -M q35",
    b"/usr/bin/qemu-system-x86_64\0-enable-kvm\0-cpu\0host,-verw-clear\0-name\0guest=a b\0",
    b"#!/bin/sh\nexec qemu-system-x86_64 \\\n  -cpu max,vendor=GenuineIntel,\\\n  -device vfio-pci,host=01:00.0",
)  # fmt: skip
OVIRT: Final = b"3:Some Family:vmx,md_clear,model_Cascadelake-Server:Cascadelake-Server,+md-clear,-hle:x86_64;"
REPLIES: Final = (
    b'{"QMP": {"version": {"qemu": {"micro": 3, "minor": 1, "major": 11}}}}\n{"return": {}}\n',
    b'{"return": {"model": {"name": "base", "props": {"md-clear": true, "arch-capabilities": true, "mds-no": false}}}}',
    b'{"return": [{"cpuid-register": "EDX", "cpuid-input-eax": 7, "cpuid-input-ecx": 0, "features": 1024}]}',
    b'{"return": {"qemu": {"micro": 0, "minor": 2, "major": 9}, "package": ""}}\n{"error": {"desc": "y"}}',
)
INLINE: Final = tuple(
    json.dumps(one).encode()
    for one in (
        {"cpu": "6/0x6a/6", "flags": "md_clear,flush_l1d", "arch_capabilities": "0x400000000c08e0eb"},
        {"cpu": "amd:0x19/1/1", "kernel": "6.12.117", "cmdline": "mitigations=off", "microcode": "0xa0011d5"},
        {"cpu": "intel:6/85/7", "flags": "avx,hypervisor", "arch_capabilities": "mds-no,taa-no", "kernel": "7.3.4"},
        {"cpu": "6/143/8", "arch_capabilities": "none", "microcode": "0x2b000620", "flags": "-md_clear"},
    )
)
BOUNDS: Final = (
    b"6.12.117,7.3.4", b"newest", b"all", b"6.1.*", b"6.12.100-6.12.117", b"lts", b"6/0x6a,amd:0x19", b"Ice Lake",
)  # fmt: skip
CPUINFO: Final = (
    b"processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 106\nstepping\t: 6\n"
    b"microcode\t: 0xd000421\nflags\t\t: fpu vmx avx md_clear arch_capabilities hypervisor\n\n"
    b"processor\t: 1\nvendor_id\t: GenuineIntel\n",
    b"processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\nstepping\t: 1\nflags\t\t: fpu svm\n",
)


@dataclass(frozen=True)
class Reader:
    """What is fed: its examples, and a function that reads. `lines`: an input is a file of so many mutants."""

    examples: tuple[bytes, ...]
    read: Callable[[bytes], object]
    lines: int = 1


def _files(*patterns: str, below: Path = EXAMPLES) -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for pattern in patterns for path in sorted(below.glob(pattern)) if path.is_file())


def _deep(data: bytes) -> bool:
    return zlib.crc32(data) % DEEP == 0


def _text(data: bytes) -> str:
    """Return a file's text, as the command line reads it."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 text (byte {error.start})", "fuzz") from error


def _words(data: bytes) -> str:
    """Return what the command line gives for any bytes in an argument."""
    return os.fsdecode(data.replace(b"\0", b""))


# --- machines ------------------------------------------------------------------------------


def _snapshot(data: bytes) -> None:
    snapshot = archcaps.parse_snapshot(data, "fuzz")
    if _deep(data):
        side = archcaps.guest() if snapshot.role == "host" else archcaps.host()
        archcaps.check(*((snapshot, side) if snapshot.role == "host" else (side, snapshot)))


def _inline(data: bytes) -> None:
    try:
        given = json.loads(data)
    except ValueError:
        return
    names = ("cpu", "flags", "arch_capabilities", "kernel", "cmdline", "microcode")
    options = {name: given[name] for name in names if isinstance(given, dict) and isinstance(given.get(name), str)}
    host = archcaps.host(**options)
    guest = archcaps.guest(**{name: value for name, value in options.items() if name != "microcode"})
    if _deep(data):
        archcaps.check(host, guest)


def _cmdline(data: bytes) -> None:
    archcaps.host(cpu="6/0x6a/6", kernel="6.12.117", cmdline=_words(data))
    _options(_words(data), {})


def _config(data: bytes) -> None:
    given: dict[str, str] = dict(
        line.partition("=")[::2] for line in data.decode("utf-8", "replace").splitlines() if line
    )
    _options("mitigations=auto", given)
    document = {"format_version": 1, "role": "guest", "kernel": {"release": "6.12.117", "config": given}}
    _snapshot(json.dumps(document).encode())


def _options(cmdline: str, config: Mapping[str, str]) -> None:
    from archcaps.machine.options import option_values  # noqa: PLC0415  # slow to load, as everything here
    from archcaps.tables.kernels import BEHAVIOURS  # noqa: PLC0415  # only for a reader that is asked for

    option_values(cmdline, config, dict.fromkeys(BEHAVIOURS, None))
    option_values(cmdline, config, dict.fromkeys(BEHAVIOURS, True))


def _release(data: bytes) -> None:
    from archcaps.questions.kernel import kernel  # noqa: PLC0415  # only for a reader that is asked for

    release, _, version = _words(data).partition("\n")
    kernel([release], version or None)
    archcaps.guest(cpu="6/0x6a/6", kernel=release)


@cache
def scratch() -> Path:
    """A folder of this process's own, in memory where that can be."""
    shared = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="archcaps-fuzz-", dir=shared if os.access(shared, os.W_OK) else None))


def _probe(name: str, data: bytes) -> None:
    from archcaps.machine import probe_script  # noqa: PLC0415  # only for a reader that is asked for

    files = {"proc/cpuinfo": CPUINFO[0], "proc/cmdline": b"quiet\n", name: data}
    for path, text in files.items():
        place = scratch() / "root" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text)
    found = probe_script.probe(None, False, True, str(scratch() / "root"))
    # Whatever the files hold: what probe writes, archcaps reads.
    archcaps.parse_snapshot(json.dumps(found).encode(), "probe")


def _probed(data: bytes) -> None:
    snapshot = archcaps.parse_snapshot(data, "fuzz")
    if _deep(data) and snapshot.role == "host":
        archcaps.check(snapshot, archcaps.default_guest(snapshot))


def _predict(data: bytes, kvm: bool = False) -> None:
    from archcaps.questions.predict_case import parse_case  # noqa: PLC0415  # only for a reader that is asked for
    from archcaps.questions.predict_lines import answer_kvm_lines, answer_lines  # noqa: PLC0415  # only for a reader that is asked for

    parse_case(data, "fuzz")
    if kvm or _deep(data):
        list((answer_kvm_lines if kvm else answer_lines)([("fuzz:1", data)]))


# --- VMMs ----------------------------------------------------------------------------------


def _configuration(data: bytes, vmm: Vmm | None = None, name: str = "fuzz") -> None:
    asked = read_configuration(_text(data), name, vmm)
    if _deep(data):
        _expanded(asked)


def _expanded(asked: Asked) -> None:
    host = archcaps.read_snapshot(EXAMPLES / "thread" / "host.toml")
    expand(asked, None, None)
    expand(asked, host, archcaps.default_guest(host))


def _capabilities(data: bytes) -> None:
    from archcaps.guest_cpu.libvirt.capabilities import read_domain_capabilities, read_host_cpu  # noqa: PLC0415  # only for a reader that is asked for

    text = _text(data)
    with suppress(InputError):
        read_domain_capabilities(text, "fuzz")
    read_host_cpu(text, "fuzz")


def _node(data: bytes) -> None:
    from archcaps.guest_cpu.kubevirt.labels import read_node  # noqa: PLC0415  # only for a reader that is asked for

    read_node(_text(data), "fuzz")


# --- fleets and questions ------------------------------------------------------------------


def _inventory(role: str | None, suffix: str, data: bytes) -> None:
    """Read a file of hosts or of guests beside the example fleet's others; without a role, one that holds both."""
    from archcaps.fleet.audit import audit  # noqa: PLC0415  # only for a reader that is asked for
    from archcaps.fleet.classes import silent  # noqa: PLC0415  # only for a reader that is asked for
    from archcaps.fleet.engine import Settings, opened  # noqa: PLC0415  # only for a reader that is asked for
    from archcaps.fleet.inventory import find  # noqa: PLC0415  # only for a reader that is asked for

    path = scratch() / f"inventory{suffix}"
    path.write_bytes(data)
    files = {each: f"{EXAMPLES}/fleet/{each}s.parquet" for each in ("host", "guest")}
    inventory = find(str(path)) if role is None else find(None, *({**files, role: str(path)}.values()))
    if _deep(data):
        audit(inventory, None)
    else:
        with opened(inventory, None, Settings(threads=1), silent) as (engine, _):
            engine.classes()


def _sql_rows(data: bytes) -> None:
    from archcaps.questions.sql.rows import machines_of  # noqa: PLC0415  # only for a reader that is asked for

    machines_of([("fuzz:1", data)], "guest" if b'"host' in data else "host", frozenset())


def _pool(data: bytes) -> None:
    from archcaps.fleet.pool.hosts import read_hosts  # noqa: PLC0415  # only for a reader that is asked for

    path = scratch() / "pool.ndjson"
    path.write_bytes(data)
    read_hosts([str(path)])


def _decode(data: bytes) -> None:
    from archcaps.questions.decode import decode, encode, is_value  # noqa: PLC0415  # only for a reader that is asked for

    text, _, register = _words(data).partition("\n")
    if is_value(text):
        decode(text, register or "msr:0x10a")
    else:
        encode(text)


def _bounds(data: bytes) -> None:
    from archcaps.space.releases import choose_releases  # noqa: PLC0415  # only for a reader that is asked for

    choose_releases(_words(data), "--kvm")


def _policy(data: bytes) -> None:
    from archcaps.policies import read_policy  # noqa: PLC0415  # only for a reader that is asked for

    path = scratch() / "policy.py"
    path.write_bytes(data)
    read_policy(path)


def _fleet_rows(role: str, form: str) -> tuple[bytes, ...]:
    """Return the example fleet's machines in CSV or NDJSON, one example each; a CSV's header goes before each."""
    import duckdb  # noqa: PLC0415  # only for a reader that is asked for

    query = duckdb.read_parquet(f"{EXAMPLES}/fleet/{role}s.parquet").limit(60)
    names, rows = query.columns, query.fetchall()
    if form == "ndjson":
        return tuple(json.dumps(dict(zip(names, row, strict=True)), default=str).encode() for row in rows)
    texts = []
    for row in rows:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        writer.writerow(row)
        texts.append(text.getvalue().encode())
    return tuple(texts)


def _lines(*patterns: str) -> tuple[bytes, ...]:
    return tuple(line for text in _files(*patterns) for line in text.splitlines())


def _compact(data: bytes) -> bytes:
    """Return a snapshot in TOML as a line of JSON."""
    return msgspec.json.encode(archcaps.parse_snapshot(data, "example"))


def _of_a_fleet(objects: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return snapshots as an inventory has them, with ids, each behind the host that every guest is on."""
    machines = [{"id": f"m{number}", **json.loads(text)} for number, text in enumerate(objects)]
    host = next(each for each in machines if each["role"] == "host")
    placed = [each | {"host": host["id"]} if each["role"] == "guest" else each for each in machines]
    return tuple(f"{json.dumps(host)}\n{json.dumps(each)}".encode() for each in placed)


def readers() -> dict[str, Reader]:
    """Return every reader by its name."""
    snapshots = _files("*/host*.toml", "*/guest*.toml", "questions/*/*.toml")
    objects = tuple(_compact(each) for each in snapshots)
    by_vmm: dict[Vmm, tuple[bytes, ...]] = {
        "libvirt": _files("guests/libvirt/*.xml"), "firecracker": _files("guests/firecracker*.json"),
        "cloud-hypervisor": _files("guests/cloud-hypervisor.json"), "kubevirt": _files("guests/kubevirt/*.yaml"),
        "nova": _files("guests/nova/*"), "ovirt": (*_files("guests/ovirt/*"), OVIRT), "xen": _files("guests/xen.cfg"),
        "proxmox": _files("guests/proxmox*.conf"), "qemu": QEMU_LINES,
    }  # fmt: skip
    every = tuple(text for texts in by_vmm.values() for text in texts) + REPLIES
    assert set(by_vmm) == set(VMMS), "a format has no examples"
    found = {
        "snapshot-toml": Reader(snapshots, _snapshot),
        "snapshot-json": Reader(objects, _snapshot),
        "probe-json": Reader(objects, _probed),
        "inline": Reader(INLINE, _inline),
        "cmdline": Reader(COMMAND_LINES, _cmdline),
        "config": Reader(CONFIGURATIONS, _config),
        "release": Reader(RELEASES, _release),
        "cpuinfo": Reader(CPUINFO, partial(_probe, "proc/cpuinfo")),
        "vulnerability": Reader(
            (b"Mitigation: Clear CPU buffers; SMT vulnerable\n", b"Not affected\n", b"Vulnerable\n"),
            partial(_probe, "sys/devices/system/cpu/vulnerabilities/mds"),
        ),
        "predict": Reader(_lines("predict/linux.ndjson"), _predict),
        "predict-kvm": Reader(_lines("predict/kvm.ndjson"), partial(_predict, kvm=True)),
        "configuration": Reader(every, _configuration),
        "qmp": Reader(REPLIES, partial(_configuration, vmm="qemu")),
        "capabilities": Reader(_files("*capabilities*.xml", below=LIBVIRT), _capabilities),
        "node": Reader(_files("guests/kubevirt/node.yaml"), _node),
        "inventory-probes": Reader(_of_a_fleet(objects), partial(_inventory, None, ".ndjson"), 50),
        "sql-rows": Reader(_lines("sql/*.ndjson"), _sql_rows),
        "pool": Reader(objects, _pool, 50),
        "decode": Reader((b"0x400000000c08e0eb", b"rdcl-no,mds-no\n", b"0xbc000400\n7.0:edx", b"0x2b"), _decode),
        "bounds": Reader(BOUNDS, _bounds),
        "policy": Reader(_files("policies/*.py"), _policy),
    }  # fmt: skip
    tables = {
        f"{role}s-{form}": Reader(_fleet_rows(role, form), partial(_inventory, role, f".{form}"), 50)
        for role in ("host", "guest")
        for form in ("csv", "ndjson")
    }
    forced = {f"as-{vmm}": Reader(texts + every, partial(_configuration, vmm=vmm)) for vmm, texts in by_vmm.items()}
    return found | tables | forced
