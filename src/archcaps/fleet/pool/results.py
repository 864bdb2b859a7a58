"""The typed answer of `pool`: the best CPU that hosts share, the proof, and what a plain intersection gets wrong."""

from __future__ import annotations

import msgspec

__all__ = [
    "FORMAT_VERSION",
    "Document",
    "Fault",
    "PlainBit",
    "PoolBit",
    "PoolHost",
    "PoolIdentity",
    "PoolResult",
    "Proof",
    "WithoutFault",
]  # fmt: skip

FORMAT_VERSION = 1


class PoolHost(msgspec.Struct, frozen=True):
    """Hosts that are alike: CPU and kernel in a line, how many there are, and the name of one."""

    name: str
    hosts: int
    example: str


class PoolIdentity(msgspec.Struct, frozen=True):
    """Who the CPU says that it is, and whose identity that is; `named`: the QEMU model that has it."""

    vendor: str
    family: int
    model: int
    stepping: int
    of: str
    named: str | None


class PoolBit(msgspec.Struct, frozen=True):
    """A bit of the pool's CPU, whether it is shown, on how many classes of hosts it can be, and why it is or is not."""

    name: str
    register: str
    shown: bool
    classes: int
    why: str


class Fault(msgspec.Struct, frozen=True):
    """What is not as it should be on a class of hosts for one vulnerability, and under which of the guest's kernels."""

    host: str
    example: str
    vulnerability: str
    truth: str
    safety: str
    host_safety: str
    kernels: list[str]


class Proof(msgspec.Struct, frozen=True):
    """What was searched: the bits that verdicts depend on, the identities that kernels tell apart, the choices read.

    `choices` counts identity and bits together; each was read for every class of hosts and every kernel (`verdicts`:
    the pairs judged). `forced`: bits that some host cannot show. `without_fault`: choices with no fault anywhere.
    """

    bits: list[str]
    identities: int
    choices: int
    verdicts: int
    without_fault: int
    forced: int


class WithoutFault(msgspec.Struct, frozen=True):
    """The fewest hosts to leave out of the pool so that some CPU has no fault on the others; null: none alone has."""

    leave_out: list[str] | None
    hosts: int


class PlainBit(msgspec.Struct, frozen=True):
    """A bit that a plain intersection of all hosts' bits has otherwise than the pool's CPU, and why."""

    name: str
    plain: bool
    pool: bool
    why: str


class Document(msgspec.Struct, frozen=True):
    """The CPU in a VMM's own language, and what it has no words for. `refused`: why there is none."""

    vmm: str
    text: str
    notes: list[str] = []
    refused: str | None = None


class PoolResult(msgspec.Struct, frozen=True):
    """The answer of `pool`.

    `faults` counts verdicts by kind, the worst first: exposed, undecided, lies (false immunity, broken promise),
    other untruths, contradictions between shown bits. `wrong` says where. `arch_capabilities` is MSR 0x10a (u64),
    `words` every CPUID word with its shown bits. `plain` is what libvirt's plain intersection has otherwise, and
    `plain_wrong` what follows from that. `not_told`: bad news of some hosts that the guest cannot be shown.

    `exit_code`: 0 truthful and safe on every host; 1 a guest is told something untrue, or there is a notice; 2 exposed
    on some host; 3 undecided.
    """

    format_version: int
    exit_code: int
    headline: str
    vmm: str
    hosts: list[PoolHost]
    guest_kernels: list[str]
    identity: PoolIdentity
    arch_capabilities: str
    words: dict[str, str]
    bits: list[PoolBit]
    faults: dict[str, int]
    wrong: list[Fault]
    without_fault: WithoutFault | None
    not_told: list[str]
    proof: Proof
    plain: list[PlainBit]
    plain_wrong: list[Fault]
    documents: list[Document]
    assumptions: list[str]
    notices: list[str]

    def __getitem__(self, bit: str) -> PoolBit:
        for each in self.bits:
            if each.name == bit:
                return each
        raise KeyError(bit)
