"""From snapshots to facts: every named boolean that the rules read, with its provenance and source.

What is not Boolean is looked up here, before the graph: list rows, a microcode revision, kernel behaviours, options.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache, partial

from msgspec.structs import replace

from archcaps.machine.cmdline import parse
from archcaps.machine.datum import Datum, Facts
from archcaps.machine.forced_flags import WAYS, forced_flags
from archcaps.machine.given_options import ASSUMED_CONFIG, Options, config_items
from archcaps.machine.identity import identity_lookups
from archcaps.machine.l1tf import kvm_lookups
from archcaps.machine.options import option_values
from archcaps.machine.silicon_facts import PUBLISHED, add_documented, add_microcode, add_silicon
from archcaps.machine.snapshot import Kernel, Reading, Snapshot, number
from archcaps.tables.bits import BITS, REGISTERS, Bit, bits_of
from archcaps.tables.files import read_toml
from archcaps.tables.kernels import BEHAVIOURS, Finding, Release, behaviour
from archcaps.tables.linux_lists import Part, bad_spectre_microcode, list_flag
from archcaps.tables.names import ASSUMPTIONS, CPU_LOOKUPS, KERNEL_LOOKUPS, STRICT, VM_LOOKUPS
from archcaps.tables.old_microcode import old_microcode
from archcaps.tables.suppositions import supposed

__all__ = [
    "PUBLISHED", "Datum", "Facts", "add_identity", "add_kernel", "add_lists", "add_user_mmio", "add_vm",
    "facts_between", "facts_of", "facts_of_host", "guest_facts", "host_facts", "known_bits", "part_of",
]  # fmt: skip

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
    "listed_no_swapgs": ("whitelist", "NO_SWAPGS"),
    "listed_no_itlb_multihit": ("whitelist", "NO_ITLB_MULTIHIT"),
    "listed_no_spectre_v2": ("whitelist", "NO_SPECTRE_V2"),
    "listed_no_eibrs_pbrsb": ("whitelist", "NO_EIBRS_PBRSB"),
    "listed_no_bhi": ("whitelist", "NO_BHI"),
    "listed_srbds": ("blacklist", "SRBDS"),
    "listed_mmio_sbds": ("blacklist", "MMIO_SBDS"),
    "listed_retbleed": ("blacklist", "RETBLEED"),
    "listed_smt_rsb": ("blacklist", "SMT_RSB"),
    "listed_srso": ("blacklist", "SRSO"),
    "listed_its_native_only": ("blacklist", "ITS_NATIVE_ONLY"),
    "listed_vmscape": ("blacklist", "VMSCAPE"),
}

_HYBRID = {"hybrid": BITS["hybrid"]}


def facts_of(host: Snapshot, guest: Snapshot, assumptions: frozenset[str] = frozenset()) -> Facts:
    """Return every fact that two snapshots and the tables give about a guest on a host.

    `assumptions` are names of `archcaps.tables.names.ASSUMPTIONS` that hold, ``default-options``, or ``strict``: then
    nothing is supposed.

    Raises:
        InputError: a kernel configuration's name is unknown.
    """
    facts = host_facts(host, assumptions)
    facts.include(guest_facts(guest, assumptions))
    facts.include(facts_between(host, guest, assumptions))
    return facts


def host_facts(host: Snapshot, assumptions: frozenset[str] = frozenset()) -> Facts:
    """Return the facts that depend on the host alone: what it finds about itself, and what its silicon is.

    Raises:
        InputError: a kernel configuration's name is unknown.
    """
    facts, strict = Facts(), STRICT in assumptions
    host = stated(host) if strict else host
    part = part_of(host)
    _add_machine(facts, "host", host, part, defaults="default-options" in assumptions, strict=strict)
    for scope in ("offered", "true"):
        add_microcode(facts, scope, host, part, unlisted=False)
    add_silicon(facts, host, part)
    _force_flags(facts, "host", host)
    add_documented(facts, part)
    return facts


def guest_facts(guest: Snapshot, assumptions: frozenset[str] = frozenset()) -> Facts:
    """Return the facts that depend on the guest alone, and on what is assumed of it.

    Raises:
        InputError: a kernel configuration's name is unknown.
    """
    facts, strict = Facts(), STRICT in assumptions
    guest = stated(guest) if strict else guest
    _add_machine(facts, "guest", guest, part_of(guest), defaults="default-options" in assumptions, strict=strict)
    _force_flags(facts, "guest", guest)
    for name, why in (
        ("guest_kernel.xen_pv", "a guest of KVM is no Xen PV guest"),
        ("guest.ram_above_half", "the guest's RAM lies below half of its physical addresses"),
    ):
        if name not in facts.known and not (strict and name == "guest.ram_above_half"):
            facts.add(name, False, "assumed", why)
            facts.unknown.pop(name, None)
    add_user_mmio(facts, assumptions)
    add_vm(facts, guest, assumptions)
    return facts


def facts_between(host: Snapshot, guest: Snapshot, assumptions: frozenset[str] = frozenset()) -> Facts:
    """Return the facts that depend on both: the host's part in the guest kernel's lists, and whether it is shown.

    They depend on no more than the two parts, the guest's release, and how the snapshots know them.
    """
    facts = Facts()
    part, shown = part_of(host), part_of(guest)
    for scope in ("offered", "true"):
        add_lists(facts, scope, part, _linux_release(guest), strict=STRICT in assumptions)
    identities = [(one.vendor, one.family, one.model, one.stepping) for one in (part, shown)]
    known = None not in (*identities[0], *identities[1])
    same = identities[0] == identities[1] if known else None
    source = _source(guest, guest.cpu.source)
    facts.add("guest.host_identity", same, guest.cpu.provenance or guest.provenance, source)
    return facts


def _linux_release(snapshot: Snapshot) -> str | None:
    """Return the release by which Linux's lists are looked up; none of another system."""
    return snapshot.kernel.release if snapshot.kernel.system == "linux" else None


def _assumed(name: str, *, holds: bool) -> str:
    return ASSUMPTIONS[name][0 if holds else 1]


def facts_of_host(host: Snapshot, *, strict: bool = False) -> Facts:
    """Return every fact that a host's snapshot and the tables give about the host and its KVM alone.

    `strict`: nothing is supposed.

    Raises:
        InputError: a kernel configuration's name is unknown.
    """
    facts = Facts()
    host = stated(host) if strict else host
    _add_machine(facts, "host", host, part_of(host), defaults=False, strict=strict)
    _force_flags(facts, "host", host)
    add_documented(facts, part_of(host))
    return facts


def stated(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot without what was only supposed when it was made: a bare machine's options and CPUID."""
    cpuid, kernel = snapshot.cpuid, snapshot.kernel
    if cpuid is not None and cpuid.provenance == "assumed":
        snapshot = replace(snapshot, cpuid=None)
    if kernel.options_provenance == "assumed":
        bare = replace(kernel, cmdline=None, config=None, options_provenance=None, options_source=None)
        snapshot = replace(snapshot, kernel=bare)
    return snapshot


def _add_machine(facts: Facts, scope: str, snapshot: Snapshot, part: Part, *, defaults: bool, strict: bool) -> None:
    _add_bits(facts, scope, snapshot)
    add_identity(facts, scope, snapshot, part, strict=strict)
    add_kernel(facts, f"{scope}_kernel", snapshot, defaults=defaults and not strict, strict=strict)
    add_lists(facts, scope, part, _linux_release(snapshot), strict=strict)


def _force_flags(facts: Facts, scope: str, snapshot: Snapshot) -> None:
    """Put what clearcpuid= and setcpuid= make of the CPU's bits in place of what CPUID shows; silicon stays as it is.

    A guest's CPUID also tells KVM whether it has MSR 0x10a: that bit is left open where its kernel takes it away.
    """
    if snapshot.kernel.system != "linux":
        return
    kernel = {name: facts.known.get(f"{scope}_kernel.{name}") for name in WAYS}
    first, by_name, sets = (None if datum is None else datum.value for datum in kernel.values())
    for name, value in forced_flags(snapshot.kernel.cmdline, (first, by_name, sets)).items():
        for_kvm = scope == "guest" and name == "arch_capabilities"
        facts.known.pop(f"{scope}.{name}", None)
        facts.add(
            f"{scope}.{name}", None if for_kvm else value, snapshot.kernel.provenance or snapshot.provenance,
            "clearcpuid=, setcpuid= or noxsave on the kernel's command line, not CPUID",
        )  # fmt: skip


def part_of(snapshot: Snapshot) -> Part:
    """Return the part that a snapshot's CPU identity names, as the lists need it."""
    cpu = snapshot.cpu
    hybrid = dict(_bit_values(snapshot, _HYBRID)).get("hybrid")
    return Part(
        cpu.vendor,
        _int(cpu.family),
        _int(cpu.model),
        _int(cpu.stepping),
        None if hybrid is None else hybrid.value,
        _int(cpu.core_type),
    )


def known_bits(snapshot: Snapshot) -> dict[str, Datum]:
    """Return the bits of registers and CPUID words that a snapshot knows, by name."""
    return dict(_bit_values(snapshot))


def _source(snapshot: Snapshot, own: str | None) -> str:
    """Return where a value is from: its own source, the snapshot's, or else the snapshot itself."""
    return own or snapshot.source or f"the {snapshot.role}'s snapshot"


def _int(value: int | str | None) -> int | None:
    return None if value is None else number(value, 64, "cpu")


def _bit_values(snapshot: Snapshot, of: Mapping[str, Bit] = BITS) -> Iterator[tuple[str, Datum]]:
    """Yield those bits of `of` that a snapshot knows: CPUID by name first, then whole registers, then single bits."""
    cpuid = snapshot.cpuid
    if cpuid is not None:
        provenance, source = cpuid.provenance or snapshot.provenance, _source(snapshot, cpuid.source)
        for name, bit in of.items():
            if REGISTERS[bit.register].kind == "cpuid":
                listed = name in cpuid.shown
                if listed or name in cpuid.hidden or cpuid.complete:
                    yield name, Datum(listed, provenance, source)
    registers = {bit.register for bit in of.values()}
    for register, reading in snapshot.registers.items():
        if register not in registers:
            continue
        for name, datum in _reading_bits(register, reading, snapshot):
            if name in of:
                yield name, datum


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


def add_identity(facts: Facts, scope: str, snapshot: Snapshot, part: Part, *, strict: bool = False) -> None:
    """Add what depends on the CPU's identity, its microcode and its threads (`Snapshot.cpu`), but no kernel's lists."""
    cpu = snapshot.cpu
    provenance, source = cpu.provenance or snapshot.provenance, _source(snapshot, cpu.source)
    for name, value in identity_lookups(part).items():
        facts.add(f"{scope}.{name}", value, provenance, source)
    facts.add(f"{scope}.smt_active", cpu.smt_active, provenance, source)
    _add_branch_identity(facts, scope, snapshot, part, strict=strict)
    add_microcode(facts, scope, snapshot, part, unlisted=False)


def _add_branch_identity(facts: Facts, scope: str, snapshot: Snapshot, part: Part, *, strict: bool) -> None:
    """Add what the rules about branch prediction ask of the CPU: threads, microcode, and how MSRs answer."""
    cpu = snapshot.cpu
    provenance, source = cpu.provenance or snapshot.provenance, _source(snapshot, cpu.source)
    answers = {
        "smt_supported": True if cpu.smt_supported is None and cpu.smt_active else cpu.smt_supported,
        "ls_cfg_readable": cpu.ls_cfg_readable,
        "sbpb_write_succeeds": cpu.msr_writes_succeed,
        "snp_host": cpu.snp_host,
        "ram_above_half": cpu.ram_above_half,
        "vmx_enabled": cpu.vmx_enabled,
    }
    for name, answer in answers.items():
        why = source if answer is not None else f"nobody tried: {CPU_LOOKUPS[name]}"
        facts.add(f"{scope}.{name}", answer, provenance, why)
    bad = bad_spectre_microcode(part, _int(cpu.microcode))
    facts.add(f"{scope}.bad_spectre_microcode", bad.value, provenance, bad.source)
    named = _linux_release(snapshot)
    if named is None:
        facts.add(f"{scope}.old_microcode", None, "", "the kernel release is not known")
    else:
        platform, revision = _int(cpu.platform_id), _int(cpu.microcode)
        old = supposed(
            lambda at: old_microcode(part, platform, revision, at), Release.parse(named).doubted, strict=strict
        )
        facts.add(f"{scope}.old_microcode", old.value, "assumed" if old.assumed else provenance, old.source)


def add_lists(facts: Facts, scope: str, part: Part, kernel: str | None, *, strict: bool = False) -> None:
    """Add what the lists of a kernel release say of a part."""
    release = None if kernel is None else Release.parse(kernel).doubted
    for name, (which, flag) in LIST_FLAGS.items():
        if release is None:
            facts.add(f"{scope}.{name}", None, "", "the kernel release is not known")
        else:
            finding = supposed(partial(list_flag, which, flag, part), release, strict=strict)
            facts.add(f"{scope}.{name}", finding.value, _by(finding), finding.source)


def _by(finding: Finding) -> str:
    """Return the provenance of what a table says."""
    return "assumed" if finding.assumed else "published"


def add_kernel(facts: Facts, scope: str, snapshot: Snapshot, *, defaults: bool, strict: bool = False) -> None:
    """Add what depends on the kernel: its release's behaviours, its options, and what its KVM's parameters say.

    Raises:
        InputError: a kernel configuration's name is unknown.
    """
    kernel = snapshot.kernel
    provenance, source = kernel.provenance or snapshot.provenance, _source(snapshot, kernel.source)
    if kernel.system != "linux":
        _add_other_system(facts, scope, kernel.system)
        return
    values: dict[str, bool | None] = {}
    release = None if kernel.release is None else Release.parse(kernel.release).doubted
    for name in BEHAVIOURS:
        if name in kernel.behaviours:
            values[name] = kernel.behaviours[name]
            facts.add(f"{scope}.{name}", values[name], provenance, source)
        elif release is None:
            facts.add(f"{scope}.{name}", None, "", "the kernel release is not known")
        else:
            finding = supposed(partial(behaviour, name), release, strict=strict)
            values[name] = finding.value
            facts.add(f"{scope}.{name}", finding.value, _by(finding), finding.source)
    assumed = defaults and (kernel.cmdline is None or kernel.config is None)
    cmdline = "" if defaults and kernel.cmdline is None else kernel.cmdline
    config = config_items(kernel, f"{snapshot.role}: kernel.config")
    if defaults and config is None:
        config = config_items(Kernel(config=ASSUMED_CONFIG), "")
    if snapshot.role == "host" and config is not None:
        config = {"KVM": "y", **config}  # it runs guests
    provenance, source = kernel.options_provenance or provenance, kernel.options_source or source
    told = source or (f"command line {cmdline!r}" if cmdline else "no mitigation options on the command line")
    _add_xen(facts, scope, snapshot)
    items = None if config is None else frozenset(config.items())
    for name, value in _option_values(cmdline, items, frozenset(values.items())).items():
        why = f"the command line or configuration is not known: {KERNEL_LOOKUPS[name]}" if value is None else told
        facts.add(f"{scope}.{name}", value, "assumed" if assumed else provenance, why)
    # What the modules' parameters say stands above what they would be by default.
    options = None if kernel.cmdline is None else Options(parse(kernel.cmdline), config, values)
    found = kvm_lookups(snapshot.kvm.parameters, options)
    for name, value in found.items():
        if name != "shadow_paging" or snapshot.role == "host":
            facts.add(f"{scope}.{name}", value, snapshot.provenance, _source(snapshot, None))
    if found["ept_off"] is None and snapshot.role == "host":
        name = f"{scope}.shadow_paging"
        facts.known.pop(name, None)
        if strict:
            facts.add(name, None, "", "not given whether KVM uses EPT (parameter ept), and nothing is supposed")
        else:
            facts.add(name, False, "assumed", "KVM uses EPT, as it does by default (parameter ept)")


@lru_cache(maxsize=256)
def _option_values(
    cmdline: str | None, config: frozenset[tuple[str, str]] | None, values: frozenset[tuple[str, bool | None]]
) -> Mapping[str, bool | None]:
    """Return what `option_values` does: kernels that are looked at again and again have it worked out once."""
    return option_values(cmdline, None if config is None else dict(config), dict(values))


def _add_other_system(facts: Facts, scope: str, system: str) -> None:
    """A system that is not Linux has none of Linux's files; what else it does archcaps has no rules for."""
    known = read_toml("guest_systems.toml")
    if system not in known:  # a row of a fleet may say anything
        for unknown in (*BEHAVIOURS, *KERNEL_LOOKUPS):
            facts.add(f"{scope}.{unknown}", None, "", "it runs a system that archcaps does not know")
        return
    name = known[system]["name"]
    for behaviour_name in BEHAVIOURS:
        if behaviour_name.startswith("has_"):
            facts.add(f"{scope}.{behaviour_name}", False, "published", f"{name} has no files of Linux")
        else:
            facts.add(f"{scope}.{behaviour_name}", None, "", f"the guest runs {name}, whose rules archcaps has not")
    for lookup in KERNEL_LOOKUPS:
        facts.add(f"{scope}.{lookup}", None, "", f"the guest runs {name}, whose rules archcaps has not")


def _add_xen(facts: Facts, scope: str, snapshot: Snapshot) -> None:
    """A kernel on bare metal is no Xen PV guest: Xen shows its guests, dom0 too, that they run under a hypervisor."""
    virtual = facts.known.get(f"{snapshot.role}.hypervisor")
    xen_pv = snapshot.kernel.xen_pv
    if xen_pv is None and virtual is not None and not virtual.value:
        xen_pv = False
    facts.add(f"{scope}.xen_pv", xen_pv, snapshot.provenance, _source(snapshot, snapshot.kernel.source))


def add_user_mmio(facts: Facts, assumptions: frozenset[str]) -> None:
    """Whether guest user code maps MMIO: as assumed; unknown where nothing is supposed."""
    user_mmio = "user-mmio" in assumptions
    if user_mmio or STRICT not in assumptions:
        facts.add("assume.user_mmio", user_mmio, "assumed", _assumed("user_mmio", holds=user_mmio))
    else:
        facts.add("assume.user_mmio", None, "", "nothing is supposed, and no snapshot says it")


def add_vm(facts: Facts, guest: Snapshot, assumptions: frozenset[str]) -> None:
    """What KVM sees of the guest: as its snapshot says, else as assumed, a device mapped and counted or none.

    That there is none is not assumed of a guest that is known to have a device.
    """
    vm, host_mmio = guest.vm, "host-mmio" in assumptions
    provenance, source = vm.provenance or guest.provenance, _source(guest, vm.source)
    has_device = vm.has_host_device or vm.has_assigned_device or vm.has_mapped_host_mmio
    for name in VM_LOOKUPS:
        given: bool | None = getattr(vm, name)
        if given is None and has_device and not host_mmio:
            facts.add(f"vm.{name}", None, "", f"the guest has a device of the host ({source})")
        elif given is None and STRICT in assumptions and not host_mmio:
            facts.add(f"vm.{name}", None, "", "not given, and nothing is supposed")
        elif given is None:
            facts.add(f"vm.{name}", host_mmio, "assumed", _assumed("host_mmio", holds=host_mmio))
        else:
            facts.add(f"vm.{name}", given, provenance, source)
