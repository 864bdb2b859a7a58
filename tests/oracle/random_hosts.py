"""Random hosts and guest values: parts on and off Linux's lists, odd registers, the options that KVM's answer turns on.

Uniformly random words alone would hardly ever meet the rules' corners: most are near values that CPUs really have.
"""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Final

from archcaps.machine.snapshot import Cpu, Cpuid, Kernel, Kvm, Reading, Snapshot
from archcaps.tables.files import read_csv
from archcaps.tables.kernels import Release, behaviour
from tests.oracle.machines import BITS, Host, Profile

__all__ = ["ANCHORS", "guest_word", "host_snapshot", "random_host"]

#: Values seen on real CPUs and offered to guests (Firecracker and Cloud Hypervisor tests, reports on the KVM list).
_REAL_WORDS: Final = (
    0, 0x69, 0x6B, 0xEB, 0xC0AA0EB, 0xC02A0EB, 0x2D0A9EB, 0xC080C4C, 0xC0A0C4C, 0xC000069, 0x400000000C000069,
    0x400000000C08E0EB, 0x400000000D08E1EB, 0xAC06C7B, 0x6_A06EF,
)  # fmt: skip
#: The bits on which an answer turns.
_TURNING: Final = (
    "RDCL_NO", "SKIP_L1DFL_VMENTRY", "SSB_NO", "MDS_NO", "TSX_CTRL", "TAA_NO", "SBDR_SSDP_NO", "FBSDP_NO", "PSDP_NO",
    "FB_CLEAR", "FB_CLEAR_CTRL", "GDS_CTRL", "GDS_NO", "RFDS_NO", "RFDS_CLEAR", "ITS_NO",
)  # fmt: skip
#: A server of 2021 after its updates: where FB_CLEAR_DIS is in use.
_ICE_LAKE: Final = (
    "RDCL_NO",
    "IBRS_ALL",
    "SKIP_L1DFL_VMENTRY",
    "MDS_NO",
    "TAA_NO",
    "FB_CLEAR",
    "FB_CLEAR_CTRL",
    "GDS_CTRL",
)
_ICE_LAKE_PART: Final = ("GenuineIntel", 6, 0x6A, 6)
_PARTS: Final = (
    ("GenuineIntel", 6, 0x55, 4), ("GenuineIntel", 6, 0x55, 7), ("GenuineIntel", 6, 0x6A, 6),
    ("GenuineIntel", 6, 0x8F, 8), ("GenuineIntel", 6, 0xBE, 0), ("GenuineIntel", 6, 0x97, 2),
    ("GenuineIntel", 6, 0x5E, 3), ("GenuineIntel", 6, 0x9E, 13), ("GenuineIntel", 6, 0x3F, 2),
    ("AuthenticAMD", 0x17, 0x31, 0), ("AuthenticAMD", 0x19, 0x01, 1), ("AuthenticAMD", 0x1A, 0x02, 1),
    ("HygonGenuine", 0x18, 0, 2),
)  # fmt: skip
_OPTIONS: Final = {
    "mitigations": ("off", "off", "auto,nosmt", "auto"),
    "mds": ("off", "full"),
    "tsx_async_abort": ("off", "full"),
    "mmio_stale_data": ("off", "full"),
    "reg_file_data_sampling": ("off", "on"),
    "tsx": ("on", "off", "auto"),
    "l1tf": ("off", "flush", "flush,nosmt", "flush,nowarn", "full", "full,force"),
    "gather_data_sampling": ("off", "force"),
}
#: CPUID bits that count, and how often they are set: on Intel, on others.
_CPUID: Final = {
    "arch_capabilities": (0.8, 0.2), "hypervisor": (0.15, 0.3), "rtm": (0.5, 0.05), "avx": (0.85, 0.9),
    "bhi_ctrl": (0.3, 0.0), "amd_ssb_no": (0.05, 0.3), "rtm_always_abort": (0.1, 0.0), "hybrid": (0.1, 0.0),
    "md_clear": (0.8, 0.0), "flush_l1d": (0.7, 0.0),
}  # fmt: skip


def _anchor(part: tuple[str, int, int, int], word: int | None) -> Host:
    shown = frozenset(("md_clear", "avx", *(["arch_capabilities"] if word is not None else [])))
    return Host(*part, 0, 0, shown, word or 0, 0, (), "off", "auto", ept=True)


#: Hosts of every part of a sweep: one with FB_CLEAR_DIS and MMIO stale data, one that flushes its L1D.
ANCHORS: Final = (
    _anchor(_ICE_LAKE_PART, sum(1 << BITS[name] for name in _ICE_LAKE)),
    _anchor(("GenuineIntel", 6, 0x5E, 3), None),
)


def _word(random: Random) -> int:
    kind = random.random()
    if kind < 0.25:
        return random.getrandbits(64)
    if kind < 0.6:
        return sum(1 << BITS[name] for name in _TURNING if random.random() < 0.5)
    return _near(random.choice(_REAL_WORDS), random)


def _near(word: int, random: Random) -> int:
    for _ in range(random.randrange(4)):
        word ^= 1 << BITS[random.choice(_TURNING)]
    return word


def guest_word(random: Random) -> int:
    """Return a value that userspace may write."""
    return _word(random)


@cache
def _listed() -> list[tuple[str, int, int]]:
    """Every Intel, AMD and Hygon model that a list names; model 0 stands for a row of a whole family."""
    vendors = {"INTEL": "GenuineIntel", "AMD": "AuthenticAMD", "HYGON": "HygonGenuine"}
    rows = [row for which in ("whitelist", "blacklist") for row in read_csv(f"linux_lists/{which}-7.1.5.csv")]
    found = {
        (vendors[row["vendor"]], int(row["family"], 16), 0 if row["model_hex"] == "ANY" else int(row["model_hex"], 16))
        for row in rows
        if row["vendor"] in vendors and row["family"] != "ANY"
    }
    return sorted(found)


def _part(random: Random) -> tuple[str, int, int, int]:
    kind = random.random()
    if kind < 0.4:
        return random.choice(_PARTS)
    if kind < 0.9:
        return *random.choice(_listed()), random.randrange(16)
    return "GenuineIntel", 6, random.randrange(256), random.randrange(16)


def random_host(random: Random) -> Host:
    """Return a random host."""
    part, word = _part(random), _word(random)
    if random.random() < 0.2:
        part, word = _ICE_LAKE_PART, _near(sum(1 << BITS[name] for name in _ICE_LAKE), random)
    intel = part[0] == "GenuineIntel"
    return Host(
        *part,
        core_type=random.choice((0, 0x20, 0x40)),
        microcode=random.choice((0, 0x0A0011D6, 0x0A0011D7)),
        cpuid=frozenset(name for name, share in _CPUID.items() if random.random() < share[0 if intel else 1]),
        msr_arch_capabilities=word,
        msr_mcu_opt_ctrl=0x20 if random.random() < 0.2 else 0,
        options=tuple((name, random.choice(values)) for name, values in _OPTIONS.items() if random.random() < 0.25),
        tsx_mode=random.choice(("off", "auto", "on")),
        vmentry_l1d_flush=random.choice(("auto", "auto", "auto", "never", "cond", "always")),
        ept=random.random() < 0.85,
    )


def _observed(profile: Profile) -> dict[str, bool]:
    """What nobody wrote into archcaps' tables for this release, but the oracle knows."""
    known = {
        "tsx_init_reads_rtm_always_abort": profile.rtm_always_abort,
        "attack_vectors": profile.attack_vectors,
        "mitigation_configs": True,
        "gds_force_config": False,
        # part of rules that are read, but nothing that is compared turns on these
        "has_mmio_unknown": True,
        "tsa_forces_verw_in_vm": True,
    }
    # The oracle keeps mapped host MMIO for the whole VM; what holds under other page-table roots nobody established.
    known["notes_host_mmio_for_any_root"] = True
    release = Release.parse(profile.version)
    return {name: value for name, value in known.items() if behaviour(name, release).value is None}


def host_snapshot(host: Host, profile: Profile) -> Snapshot:
    """Return the host as archcaps is told of it."""
    config = {f"MITIGATION_{name}": "y" for name in ("MDS", "TAA", "MMIO_STALE_DATA", "RFDS", "GDS", "TSA")}
    modes = {
        f"X86_INTEL_TSX_MODE_{mode.upper()}": "y" if mode == host.tsx_mode else "n" for mode in ("on", "off", "auto")
    }
    return Snapshot(
        format_version=1,
        role="host",
        cpu=Cpu(
            vendor=host.vendor,
            family=host.family,
            model=host.model,
            stepping=host.stepping,
            core_type=host.core_type,
            microcode=host.microcode,
            smt_active=True,
        ),
        cpuid=Cpuid(shown=sorted(host.cpuid)),
        registers={
            "ia32_arch_capabilities": Reading(value=host.msr_arch_capabilities),
            "ia32_mcu_opt_ctrl": Reading(value=host.msr_mcu_opt_ctrl),
        },
        kernel=Kernel(
            release=profile.version,
            cmdline=" ".join(f"{name}={value}" for name, value in host.options),
            config={**config, **modes, "KVM": "m"},
            behaviours=_observed(profile),
        ),
        kvm=Kvm(
            parameters={
                "vmentry_l1d_flush": host.vmentry_l1d_flush,
                "ept": "Y" if host.ept else "N",
                "ignore_msrs": "N",
            }
        ),
    )
