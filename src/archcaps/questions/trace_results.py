"""The typed answer of `trace`: one VM entry and exit, step by step."""

from __future__ import annotations

import msgspec

from archcaps.questions.results import Assumption, Line, Notice

__all__ = ["FORMAT_VERSION", "Border", "Buffer", "Entry", "Step", "TraceResult"]

FORMAT_VERSION = 1


class Buffer(msgspec.Struct, frozen=True):
    """What one of the CPU's buffers may hold of the host after a step; null: unknown."""

    name: str
    holds_host_data: bool | None


class Step(msgspec.Struct, frozen=True):
    """One step of the way into the guest and back.

    `done`: whether this kernel takes the step for this guest (null: unknown), with why. `fb_clear_dis`: the bit of
    IA32_MCU_OPT_CTRL after the step. `buffers`: after the step.
    """

    name: str
    what: str
    source: str
    done: bool | None
    why: list[Line]
    fb_clear_dis: bool | None
    buffers: list[Buffer]


class Entry(msgspec.Struct, frozen=True):
    """One kind of entry: every entry is alike, or those with an L1D flush pending and those without."""

    kind: str
    steps: list[Step]


class Border(msgspec.Struct, frozen=True):
    """What it comes to for one vulnerability: the host against this guest, and the guest's own VERW; null: unknown."""

    vulnerability: str
    guest_can_sample: bool | None
    cleared_before_entry: bool | None
    host_safety: str | None
    guest_verw_works: bool | None


class TraceResult(msgspec.Struct, frozen=True):
    """The answer of `trace` for one guest on one host."""

    format_version: int
    exit_code: int
    host: str
    host_kernel: str | None
    guest: str
    guest_kernel: str | None
    technology: str | None
    disable_fb_clear: bool | None
    entries: list[Entry]
    borders: list[Border]
    missing: dict[str, str]
    notices: list[Notice]
    assumptions: list[Assumption]
