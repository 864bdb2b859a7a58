"""Random worlds of one Linux kernel on one CPU, as plain sets of names: what the oracle and the graph are told.

The kernels are real releases, of whose smaller habits a few are turned round, so that no two always go together. Of the
values of one option at most one is chosen, as the kernel reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Final

from archcaps.tables.bits import ARCH_CAPABILITIES, BITS
from archcaps.tables.kernels import BEHAVIOURS, Release, behaviour
from archcaps.tables.names import CPU_LOOKUPS, KERNEL_LOOKUPS

__all__ = ["World", "facts", "random_cpu", "random_kernel", "worlds"]

_COUNT: Final = 8000

_RELEASES: Final = (
    "5.4.180", "5.4.301", "5.10.35", "5.10.218", "5.10.265", "5.15.154", "5.15.215", "6.1.85", "6.1.170", "6.1.192",
    "6.2.1", "6.6.1", "6.6.26", "6.6.93", "6.6.150", "6.12.11", "6.12.117", "6.16.1", "6.17.0", "6.18.35", "6.19.9",
    "7.1.5",
)  # fmt: skip
#: What makes a kernel what it is: combinations of these are those of real releases.
_FIXED: Final = (
    "attack_vectors", "selects_then_applies", "srso_in_lower_case", "names_eibrs_modes", "mitigates_retbleed_on_amd",
)  # fmt: skip
#: Options with their values, of which one counts. "" stands for what is not among the look-ups.
_OPTIONS: Final = (
    ("mds_off", "mds_on"), ("taa_off", "taa_on"), ("mmio_off", "mmio_on"), ("rfds_off", "rfds_on"),
    ("tsa_off", "tsa_on", "tsa_user", "tsa_vm"), ("gds_off", "gds_force"), ("tsx_on", "tsx_auto"),
    ("l1d_flush_never", "l1d_flush_always"),
    ("spectre_v2_off", "spectre_v2_on", "spectre_v2_retpoline", "spectre_v2_retpoline_generic",
     "spectre_v2_retpoline_lfence", "spectre_v2_eibrs", "spectre_v2_eibrs_lfence", "spectre_v2_eibrs_retpoline",
     "spectre_v2_ibrs"),
    ("spectre_v2_user_off", "spectre_v2_user_on", "spectre_v2_user_prctl", "spectre_v2_user_ibpb"),
    ("bhi_off", "bhi_on", "bhi_auto", "bhi_vmexit"), ("ssb_off", "ssb_on", "ssb_prctl", "ssb_seccomp"),
    ("retbleed_off", "retbleed_unret", "retbleed_ibpb", "retbleed_stuff"),
    ("its_off", "its_on", "its_vmexit", "its_stuff"),
    ("srso_off", "srso_microcode", "srso_safe_ret", "srso_ibpb", "srso_ibpb_vmexit"), ("vmscape_off", "vmscape_ibpb"),
)  # fmt: skip
_IN_OPTIONS: Final = frozenset(name for names in _OPTIONS for name in names)
#: Look-ups that are rarely true, since they would hide nearly everything else, and others that are nearly always.
_CPU_SHARES: Final = {"listed_no_speculation": 0.02, "arch_capabilities": 0.85, "smt_supported": 0.8}
_KERNEL_SHARES: Final = {
    "mitigations_off": 0.1, "xen_pv": 0.05, "built_retpoline": 0.85, "built_rethunk": 0.85,
    "built_aligned_functions": 0.1, "nosmt": 0.15, "nosmt_force": 0.15, "retbleed_forced": 0.3,
    "ibrs_cleared": 0.05, "ibpb_cleared": 0.05, "stibp_cleared": 0.05, "ssbd_cleared": 0.05,
}  # fmt: skip


_INTEL: Final = {"vendor_intel", "-vendor_amd", "-vendor_hygon", "-listed_no_speculation", "-bad_spectre_microcode"}
_AMD: Final = {"vendor_amd", "-vendor_intel", "-vendor_hygon", "-listed_no_speculation"}
#: Where rules depend on many facts together, which chance alone would hardly ever bring about: names of the CPU and of
#: the kernel that are true there, or with "-" false.
_CORNERS: Final = (
    # stuffing against Retbleed and ITS
    (_INTEL | {"hypervisor", "rsba", "arch_capabilities", "-its_no", "-bhi_ctrl", "-btc_no", "-listed_no_spectre_v2"},
     {"has_its", "has_retbleed", "built_retpoline", "built_rethunk", "built_call_depth_tracking",
      "-built_aligned_functions", "-xen_pv"}),
    # Retbleed that takes SMT away
    (_AMD | {"listed_retbleed", "smt_active", "smt_supported", "-btc_no", "-amd_stibp", "-intel_stibp"},
     {"has_retbleed", "retbleed_nosmt", "-nosmt", "-l1tf_nosmt"}),
    # SRSO's IBPB that serves Retbleed
    (_AMD | {"listed_retbleed", "listed_srso", "ibpb_brtype", "-btc_no", "-srso_no", "-family_from_0x19"},
     {"has_retbleed", "has_srso", "built_ibpb_entry", "srso_ibpb", "-srso_off", "-srso_microcode", "-srso_safe_ret",
      "-srso_ibpb_vmexit"}),
    # GDS and TSA on bare metal
    (_INTEL | {"listed_gds", "avx", "-gds_no", "-hypervisor"}, {"has_gds"}),
    (_AMD | {"listed_tsa", "-hypervisor"}, {"has_tsa"}),
)  # fmt: skip


@dataclass(frozen=True)
class World:
    """The names that are true, of the CPU and of the kernel; `given` goes before what is true of the CPU."""

    cpu: frozenset[str]
    kernel: frozenset[str]
    given: Mapping[str, bool] = field(default_factory=dict)

    def shows(self, name: str) -> bool:
        """Whether the CPU has a bit (of MSR 0x10a: where CPUID shows the MSR) or is what a look-up says."""
        assert name in BITS or name in CPU_LOOKUPS, name
        if name in self.given:
            return self.given[name]
        return name in self.cpu and (name not in ARCH_CAPABILITIES or "arch_capabilities" in self.cpu)

    def has(self, name: str) -> bool:
        """Whether the kernel does something, is built or is booted so."""
        assert name in BEHAVIOURS or name in KERNEL_LOOKUPS, name
        return name in self.kernel


@cache
def worlds() -> tuple[World, ...]:
    """Return the worlds, the same each time."""
    random = Random("archcaps guests")
    return tuple(_world(random) for _ in range(_COUNT))


@cache
def _behaviours(release: str) -> frozenset[str]:
    return frozenset(name for name in BEHAVIOURS if behaviour(name, Release.parse(release)).value)


def _world(random: Random) -> World:
    cpu, kernel = random_cpu(random), random_kernel(random)
    if random.random() < 0.5:
        of_cpu, of_kernel = random.choice(_CORNERS)
        cpu, kernel = _with(cpu, of_cpu), _with(kernel, of_kernel)
    return World(cpu, kernel)


def _with(names: frozenset[str], changes: set[str]) -> frozenset[str]:
    gone = {name.removeprefix("-") for name in changes}
    return names - gone | {name for name in changes if not name.startswith("-")}


def random_cpu(random: Random) -> frozenset[str]:
    """Return what is true of a random CPU: one vendor at most, one family."""
    share = random.choice((0.2, 0.5, 0.5, 0.8))  # of the lists and of what is shown
    names = sorted({*BITS, *CPU_LOOKUPS})
    true = {
        name
        for name in names
        if random.random()
        < _CPU_SHARES.get(name, 0.3 if name.startswith("listed_no_") or name.endswith("_no") else share)
    }
    vendors = ("vendor_intel", "vendor_amd", "vendor_hygon")
    families = ("family_0x0f", "family_0x10", "family_0x17", "family_0x19", "family_0x1a")
    true -= {*vendors, *families, "family_from_0x19", "family_0x15_to_0x17"}
    true |= set(random.choices([*vendors, ""], weights=(9, 8, 2, 1))) - {""}
    family = random.choice((*families[:2], *families[2:] * 3, "family_0x15_to_0x17"))
    true.add(family)
    if family in ("family_0x19", "family_0x1a"):
        true.add("family_from_0x19")
    if family == "family_0x17":
        true.add("family_0x15_to_0x17")
    return frozenset(true)


def random_kernel(random: Random) -> frozenset[str]:
    """Return what is true of a random kernel, as it is built and booted."""
    behaviours = set(_behaviours(random.choice(_RELEASES)))
    free = sorted(set(BEHAVIOURS) - set(_FIXED))
    for name in random.sample(free, random.choice((0, 2, 12))):
        behaviours ^= {name}
    given = {name for names in _OPTIONS if random.random() < 0.4 for name in [random.choice(names)]}
    others = {
        name for name in sorted(set(KERNEL_LOOKUPS) - _IN_OPTIONS) if random.random() < _KERNEL_SHARES.get(name, 0.5)
    }
    found = behaviours | given | others
    vectors = sorted(name for name in KERNEL_LOOKUPS if name.startswith("vector_"))
    if "attack_vectors" in behaviours and random.random() < 0.4:
        found -= set(random.sample(vectors, random.choice((3, 4, 5))))
    return frozenset(found)


@cache
def facts() -> dict[str, tuple[int, int]]:
    """Return each fact of the scopes "cpu" and "kernel" as planes: the worlds in which it is true, and false."""
    every = (1 << len(worlds())) - 1
    found = {}
    for scope, names in (("cpu", {*BITS, *CPU_LOOKUPS}), ("kernel", {*BEHAVIOURS, *KERNEL_LOOKUPS})):
        for name in names:
            text = "".join("1" if name in getattr(world, scope) else "0" for world in reversed(worlds()))
            true = int(text, 2)
            found[f"{scope}.{name}"] = (true, every & ~true)
    return found
