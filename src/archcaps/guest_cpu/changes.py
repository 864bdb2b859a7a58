"""Changes of a guest's configuration, and the patch that makes them in the VMM's own language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["GuestChange", "MachineChange", "ModelChange", "Patch", "SwitchChange"]


@dataclass(frozen=True, slots=True)
class SwitchChange:
    """Show the guest a bit, or hide it: `bit` is our name (fb_clear)."""

    bit: str
    on: bool


@dataclass(frozen=True, slots=True)
class ModelChange:
    """Another CPU model, by the VMM's name with its version (Cascadelake-Server-v7)."""

    model: str


@dataclass(frozen=True, slots=True)
class MachineChange:
    """Another machine type (pc-q35-10.1)."""

    machine: str


GuestChange = SwitchChange | ModelChange | MachineChange


@dataclass(frozen=True, slots=True)
class Patch:
    """A configuration before and after a change, in the VMM's language, and what of it the language has no words for.

    `diff` is the unified diff of the two texts; `impossible` holds each change that cannot be written, with why and
    what could be done in its place.
    """

    language: Literal["qemu", "xml", "json", "yaml", "ini", "conf"]
    before: str
    after: str
    diff: str
    impossible: tuple[tuple[GuestChange, str], ...] = ()
