"""From snapshots to facts: every named boolean that the rules read, with its provenance and source.

What is not Boolean is looked up here, before the graph: list rows, a microcode revision, kernel behaviours, options.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from archcaps.machine.branch_options import branch_option_values
from archcaps.machine.options import ASSUMED_CONFIG, config_items, l1tf_off, option_values
from archcaps.machine.snapshot import Kernel, Reading, Snapshot, number
from archcaps.tables.bits import BITS, REGISTERS, bits_of
from archcaps.tables.files import read_csv
from archcaps.tables.kernels import BEHAVIOURS, Release, behaviour
from archcaps.tables.linux_lists import Part, bad_spectre_microcode, list_flag
from archcaps.tables.names import ASSUMPTIONS, CPU_LOOKUPS, KERNEL_LOOKUPS
from archcaps.tables.silicon import published, tsa_microcode

__all__ = ["Datum", "Facts", "facts_of", "part_of"]

#: Which list and flag each look-up of a CPU asks.
LIST_FLAGS = {
    "listed_no_speculation": ("whitelist", "NO_SPECULATION"),
    "listed_no_meltdown": ("whitelist", "NO_MELTDOWN"),
    "listed_no_ssb": ("whitelist", "NO_SSB"),
    "listed_no_l1tf": ("whitelist", "NO_L1TF"),
    "listed_no_mds": ("whitelist", "NO_MDS"),
    "listed_msbds_only": ("whitelist", "MSBDS_ONLY"),
    "listed_no_mmio": ("whitelist", "NO_MMIO"),
    "listed_mmio": ("blacklist", "MMIO"),
    "listed_gds": ("blacklist", "GDS"),
    "listed_rfds": ("blacklist", "RFDS"),
    "listed_its": ("blacklist", "ITS"),
    "listed_tsa": ("blacklist", "TSA"),
}
_PUBLISHED = {
    "mds_published": "mds",
    "mmio_published": "mmio_stale_data",
    "rfds_published": "reg_file_data_sampling",
    "tsa_published": "tsa",
}
#: Zen 1 and 2 models of family 0x17. Source: Linux 6.12.117 arch/x86/kernel/cpu/amd.c bsp_init_amd
_ZEN_1_AND_2 = (range(0x00, 0x80), range(0x90, 0x92), range(0xA0, 0xB0))
#: Zen 5 models of family 0x1a on which every kernel read agrees. Source: Linux 6.12.117, 6.18.9, 7.1.5, the same place
_ZEN_5 = (range(0x00, 0x30), range(0x40, 0x50), range(0x60, 0x80))


@dataclass(frozen=True, slots=True)
class Datum:
    """One fact: its value, how it is known, and where from. `verified` is False where the source itself is in doubt."""

    value: bool
    provenance: str
    source: str
    verified: bool = True


@dataclass
class Facts:
    """The known facts by name, and for facts that tables leave unknown the sentence that says why."""

    known: dict[str, Datum] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: bool | None, provenance: str, source: str, *, verified: bool = True) -> None:
        """Note a fact; an unknown one with the reason `source`."""
        if value is None:
            self.unknown[name] = source
        else:
            self.known[name] = Datum(value, provenance, source, verified)

    @property
    def values(self) -> dict[str, bool]:
        """The values alone, as the interpretations take them."""
        return {name: datum.value for name, datum in self.known.items()}


def facts_of(host: Snapshot, guest: Snapshot, assumptions: frozenset[str] = frozenset()) -> Facts:
    """Return every fact that two snapshots and the tables give about a guest on a host.

    `assumptions` are names of `archcaps.tables.names.ASSUMPTIONS` that hold, or ``default-options``.

    Raises:
        InputError: a kernel configuration's name is unknown.
    """
    facts = Facts()
    defaults = "default-options" in assumptions
    for scope, snapshot in (("host", host), ("guest", guest)):
        _add_bits(facts, scope, snapshot)
        _add_identity(facts, scope, snapshot)
        _add_kernel(facts, f"{scope}_kernel", snapshot, defaults=defaults)
        _add_lists(facts, scope, snapshot, snapshot.kernel.release)
    for scope in ("offered", "true"):
        _add_lists(facts, scope, host, guest.kernel.release)
        _add_microcode(facts, scope, host, unlisted=False)
    _add_host_parameters(facts, host)
    _add_silicon(facts, host)
    for name, (held, otherwise) in ASSUMPTIONS.items():
        holds = name.replace("_", "-") in assumptions
        facts.add(f"assume.{name}", holds, "assumed", held if holds else otherwise)
    return facts


def part_of(snapshot: Snapshot) -> Part:
    """Return the part that a snapshot's CPU identity names, as the lists need it."""
    cpu = snapshot.cpu
    shown = dict(_bit_values(snapshot))
    hybrid = shown.get("hybrid")
    return Part(
        cpu.vendor,
        _int(cpu.family),
        _int(cpu.model),
        _int(cpu.stepping),
        None if hybrid is None else hybrid.value,
        _int(cpu.core_type),
    )


def _source(snapshot: Snapshot, own: str | None) -> str:
    """Return where a value is from: its own source, the snapshot's, or else the snapshot itself."""
    return own or snapshot.source or f"the {snapshot.role}'s snapshot"


def _int(value: int | str | None) -> int | None:
    return None if value is None else number(value, 64, "cpu")


def _bit_values(snapshot: Snapshot) -> Iterator[tuple[str, Datum]]:
    """Yield the bits that a snapshot knows: CPUID by name first, then whole registers, then single bits."""
    cpuid = snapshot.cpuid
    if cpuid is not None:
        provenance, source = cpuid.provenance or snapshot.provenance, _source(snapshot, cpuid.source)
        for name, bit in BITS.items():
            if REGISTERS[bit.register].kind == "cpuid":
                listed = name in cpuid.shown
                if listed or name in cpuid.hidden or cpuid.complete:
                    yield name, Datum(listed, provenance, source)
    for register, reading in snapshot.registers.items():
        yield from _reading_bits(register, reading, snapshot)


def _reading_bits(register: str, reading: Reading, snapshot: Snapshot) -> Iterator[tuple[str, Datum]]:
    provenance, source = reading.provenance or snapshot.provenance, _source(snapshot, reading.source)
    width = REGISTERS[register].width
    if reading.value is not None:
        value = number(reading.value, width, register)
        known = number(reading.known, width, register) if reading.known is not None else (1 << width) - 1
        for name, bit in bits_of(register).items():
            if known & bit.mask:
                yield name, Datum(bool(value & bit.mask), provenance, source)
    for name, single in reading.bits.items():
        yield name, Datum(single.value, single.provenance or provenance, single.source or source)


def _add_bits(facts: Facts, scope: str, snapshot: Snapshot) -> None:
    for name, datum in _bit_values(snapshot):
        facts.known[f"{scope}.{name}"] = datum


def _add_identity(facts: Facts, scope: str, snapshot: Snapshot) -> None:
    cpu = snapshot.cpu
    provenance, source = cpu.provenance or snapshot.provenance, _source(snapshot, cpu.source)
    family, model = _int(cpu.family), _int(cpu.model)

    def known(condition: bool, *parts: object) -> bool | None:
        return None if None in parts else condition

    for name, string in (("intel", "GenuineIntel"), ("amd", "AuthenticAMD"), ("hygon", "HygonGenuine")):
        facts.add(f"{scope}.vendor_{name}", known(cpu.vendor == string, cpu.vendor), provenance, source)
    facts.add(f"{scope}.family_0x19", known(family == 0x19, family), provenance, source)
    facts.add(f"{scope}.family_0x1a", known(family == 0x1A, family), provenance, source)
    facts.add(f"{scope}.unknown_zen_model", _unknown_zen_model(family, model), provenance, source)
    facts.add(f"{scope}.smt_active", cpu.smt_active, provenance, source)
    supported = True if cpu.smt_supported is None and cpu.smt_active else cpu.smt_supported
    facts.add(f"{scope}.smt_supported", supported, provenance, source)
    _add_branch_identity(facts, scope, snapshot)
    _add_microcode(facts, scope, snapshot, unlisted=False)


def _add_branch_identity(facts: Facts, scope: str, snapshot: Snapshot) -> None:
    """Add what the rules about branch prediction ask of the CPU: families, microcode, and how MSRs answer."""
    cpu = snapshot.cpu
    provenance, source = cpu.provenance or snapshot.provenance, _source(snapshot, cpu.source)
    family = _int(cpu.family)
    families = {
        "family_0x17": range(0x17, 0x18),
        "family_0x15_to_0x17": range(0x15, 0x18),
        "family_from_0x19": range(0x19, 0x1000),
    }
    for name, numbers in families.items():
        facts.add(f"{scope}.{name}", None if family is None else family in numbers, provenance, source)
    answers = {
        "ls_cfg_readable": cpu.ls_cfg_readable,
        "sbpb_write_succeeds": cpu.msr_writes_succeed,
        "snp_host": cpu.snp_host,
    }
    for name, answer in answers.items():
        why = source if answer is not None else f"nobody tried: {CPU_LOOKUPS[name]}"
        facts.add(f"{scope}.{name}", answer, provenance, why)
    bad = bad_spectre_microcode(part_of(snapshot), _int(cpu.microcode))
    facts.add(f"{scope}.bad_spectre_microcode", bad.value, provenance, bad.source)


def _unknown_zen_model(family: int | None, model: int | None) -> bool | None:
    if family not in (None, 0x17, 0x19, 0x1A):
        return False
    if family is None or model is None:
        return None
    match family:
        case 0x17:
            return not any(model in models for models in _ZEN_1_AND_2)
        case 0x19:
            return model >= 0xB0
        case _:
            return False if any(model in models for models in _ZEN_5) else None


def _add_microcode(facts: Facts, scope: str, snapshot: Snapshot, *, unlisted: bool | None) -> None:
    """Compare the revision with the kernel's table; in a virtual machine the number is not the hardware's."""
    cpu = snapshot.cpu
    found = tsa_microcode(part_of(snapshot), _int(cpu.microcode), unlisted=unlisted)
    revision = "the microcode revision is not known" if cpu.microcode is None else f"microcode {cpu.microcode}"
    source = f"{revision} [Linux arch/x86/kernel/cpu/amd.c amd_check_tsa_microcode]"
    provenance = cpu.provenance or snapshot.provenance
    if cpu.vendor not in (None, "AuthenticAMD"):
        provenance, source = "published", "the microcode against TSA is AMD's (AMD-SB-7029)"
    facts.add(f"{scope}.tsa_microcode", found, provenance, source)


def _add_lists(facts: Facts, scope: str, snapshot: Snapshot, release: str | None) -> None:
    part = part_of(snapshot)
    for name, (which, flag) in LIST_FLAGS.items():
        if release is None:
            facts.add(f"{scope}.{name}", None, "", "the kernel release is not known")
        else:
            finding = list_flag(which, flag, part, Release.parse(release))
            facts.add(f"{scope}.{name}", finding.value, "published", finding.source)


def _add_kernel(facts: Facts, scope: str, snapshot: Snapshot, *, defaults: bool) -> None:
    kernel = snapshot.kernel
    provenance, source = kernel.provenance or snapshot.provenance, _source(snapshot, kernel.source)
    values: dict[str, bool | None] = {}
    for name in BEHAVIOURS:
        if name in kernel.behaviours:
            values[name] = kernel.behaviours[name]
            facts.add(f"{scope}.{name}", values[name], provenance, source)
        elif kernel.release is None:
            facts.add(f"{scope}.{name}", None, "", "the kernel release is not known")
        else:
            finding = behaviour(name, Release.parse(kernel.release))
            values[name] = finding.value
            facts.add(f"{scope}.{name}", finding.value, "published", finding.source)
    assumed = defaults and (kernel.cmdline is None or kernel.config is None)
    cmdline = "" if defaults and kernel.cmdline is None else kernel.cmdline
    config = config_items(kernel, f"{snapshot.role}: kernel.config")
    if defaults and config is None:
        config = config_items(Kernel(config=ASSUMED_CONFIG), "")
    provenance, source = kernel.options_provenance or provenance, kernel.options_source or source
    told = source or (f"command line {cmdline!r}" if cmdline else "no mitigation options on the command line")
    options = option_values(cmdline, config, values) | branch_option_values(cmdline, config, values)
    for name, value in options.items():
        why = f"the command line or configuration is not known: {KERNEL_LOOKUPS[name]}" if value is None else told
        facts.add(f"{scope}.{name}", value, "assumed" if assumed else provenance, why)


def _add_host_parameters(facts: Facts, host: Snapshot) -> None:
    """Module parameters of KVM."""
    parameters: Mapping[str, str] = host.kvm.parameters
    cmdline = host.kernel.cmdline
    flush = parameters.get("vmentry_l1d_flush")
    scope, provenance, source = "host_kernel", host.provenance, _source(host, None)
    never: bool | None = None
    if flush is not None and flush != "auto":
        never = flush == "never"
    elif flush == "auto" and cmdline is not None:
        vectors = facts.known.get("host_kernel.attack_vectors")
        never = l1tf_off(cmdline, None if vectors is None else vectors.value)
    facts.add(f"{scope}.l1d_flush_never", never, provenance, source)
    ept = parameters.get("ept")
    off = None if ept is None else ept.upper() in ("N", "0")
    facts.add(f"{scope}.ept_off", off, provenance, source)


def _add_silicon(facts: Facts, host: Snapshot) -> None:
    """The hardware's own registers are the host's, unless the host is itself a guest."""
    virtual = facts.known.get("host.hypervisor")
    for row in read_csv("silicon/unverified.csv"):
        facts.unknown[f"silicon.{row['name']}"] = f"{row['meaning']} [{row['source']}]"
    if virtual is None or virtual.value:
        why = "the host is itself a virtual machine" if virtual else "not known whether the host is bare metal"
        for name in (*BITS, *_PUBLISHED, "tsa_microcode"):
            facts.unknown[f"silicon.{name}"] = why
        return
    for name in BITS:
        if f"host.{name}" in facts.known:
            facts.known[f"silicon.{name}"] = facts.known[f"host.{name}"]
    part = part_of(host)
    for name, vulnerability in _PUBLISHED.items():
        answer = published(vulnerability, part)
        facts.add(f"silicon.{name}", answer.affected, "published", answer.source, verified=answer.verified)
    _add_microcode(facts, "silicon", host, unlisted=None)
