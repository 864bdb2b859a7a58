"""The typed answer of `shown`: what a guest's configuration asks for, and what the guest gets of it on a host."""

from __future__ import annotations

import msgspec

__all__ = ["FORMAT_VERSION", "AskedFeature", "DifferentFeature", "ShownFeature", "ShownResult"]

FORMAT_VERSION = 1


class AskedFeature(msgspec.Struct, frozen=True):
    """A feature that the configuration itself names, in the VMM's spelling."""

    name: str
    policy: str


class ShownFeature(msgspec.Struct, frozen=True):
    """A bit as the guest reads it, and as KVM offers it on this host (null: unknown)."""

    name: str
    register: str
    guest: bool | None
    offered: bool | None


class DifferentFeature(msgspec.Struct, frozen=True):
    """A feature that the guest gets otherwise than asked, by whom and why (`shown`: what it gets; null: unknown)."""

    name: str
    bit: str | None
    by: str
    shown: bool | None
    reason: str
    source: str


class ShownResult(msgspec.Struct, frozen=True):
    """The answer of `shown` for one guest on one host.

    `starts` is null where that is not known, as without a host; `live`: read from a running VMM. `arch_capabilities`
    is the value of MSR 0x10a that the guest has (u64) as far as `arch_capabilities_known` (a mask) says;
    `arch_capabilities_visible`: its CPUID shows the register. `features` is every feature that is asked for by name,
    in the VMM's spelling, with whether the guest gets it (null: not known); `not_followed` what is asked for besides.
    `messages` are the VMM's own words.

    `exit_code`: 0 the guest gets what is asked for; 1 something else than that; 2 it does not start; 3 facts are
    missing to tell.
    """

    format_version: int
    headline: str
    exit_code: int
    vmm: str
    release: str | None
    machine: str | None
    accelerator: str | None
    model: str | None
    live: bool
    asked: list[AskedFeature]
    host: str | None
    starts: bool | None
    refused: str | None
    vendor: str | None
    family: int | None
    cpu_model: int | None
    stepping: int | None
    arch_capabilities_visible: bool | None
    arch_capabilities: str
    arch_capabilities_known: str
    bits: list[ShownFeature]
    differences: list[DifferentFeature]
    features: dict[str, bool | None]
    not_followed: str
    messages: list[str]
    lost_in_words: list[str]
    notices: list[str]
    assumptions: list[str]

    def __getitem__(self, bit: str) -> ShownFeature:
        for each in self.bits:
            if each.name == bit:
                return each
        raise KeyError(bit)
