"""The typed answer of `upgrade`: what changes for a guest under another kernel."""

from __future__ import annotations

import msgspec

from archcaps.questions.results import Assumption, Notice, Possible

__all__ = [
    "FORMAT_VERSION", "BugChange", "FileChange", "InputChange", "Judged", "Said", "UpgradeResult", "VerdictChange",
    "VerwChange",
]  # fmt: skip

FORMAT_VERSION = 1


class Said(msgspec.Struct, frozen=True):
    """A file's text under one kernel: the one, or null and those still possible ("no such file" where there is none).

    `observed`: it was read in this guest, not computed. `complete`: `possible` lists all there are.
    """

    value: str | None
    possible: list[str]
    observed: bool
    complete: bool


class InputChange(msgspec.Struct, frozen=True):
    """An input that the two kernels have differently and that decides a change (null: unknown)."""

    name: str
    before: bool | None
    after: bool | None
    meaning: str
    source: str


class FileChange(msgspec.Struct, frozen=True):
    """One file under /sys/devices/system/cpu/vulnerabilities; `changes` is null where facts are missing to tell."""

    file: str
    before: Said
    after: Said
    changes: bool | None
    because: list[InputChange]


class VerwChange(msgspec.Struct, frozen=True):
    """Whether the guest's kernel runs VERW on exit to user, or before VM entry of its own guests (null: unknown)."""

    when: str
    before: bool | None
    after: bool | None
    because: list[InputChange]

    @property
    def changes(self) -> bool:
        """Whether what is known differs."""
        return self.before is not self.after


class BugChange(msgspec.Struct, frozen=True):
    """Whether /proc/cpuinfo lists a bug (null: unknown); bugs that neither kernel can list are left out."""

    name: str
    before: bool | None
    after: bool | None

    @property
    def changes(self) -> bool:
        """Whether what is known differs."""
        return self.before is not self.after


class Judged(msgspec.Struct, frozen=True):
    """A verdict under one kernel, as `check` gives it.

    `works`: VERW works in the guest, or for further verdicts what its kernel does about it (null: unknown).
    """

    claim: Possible
    works: bool | None
    affected: bool | None
    truth: Possible
    safety: Possible
    responsible: Possible


class VerdictChange(msgspec.Struct, frozen=True):
    """The verdict on a vulnerability, or a further subject of `check`, under both kernels; null: facts are missing.

    `worse`: the truth is further from what the guest should be told, or it is newly exposed, or a VERW that it needs
    and that works stops. `newly_exposed`: data can leak that could not before.
    """

    subject: str
    before: Judged
    after: Judged
    changes: bool | None
    worse: bool | None
    newly_exposed: bool | None

    @property
    def undecided(self) -> bool:
        """Whether facts are missing to tell if it gets worse."""
        return None in (self.worse, self.newly_exposed)


class UpgradeResult(msgspec.Struct, frozen=True):
    """The answer of `upgrade` for one guest on one host. `missing`: the unknown facts that would decide what is open.

    `exit_code`: 0 nothing gets worse; 1 something does and nothing leaks that did not before; 2 newly exposed;
    3 facts are missing to tell.
    """

    format_version: int
    headline: str
    exit_code: int
    host: str
    host_kernel: str | None
    guest: str
    from_kernel: str
    to_kernel: str
    files: list[FileChange]
    verw: list[VerwChange]
    bugs: list[BugChange]
    vulnerabilities: list[VerdictChange]
    further: list[VerdictChange]
    missing: dict[str, str]
    notices: list[Notice]
    assumptions: list[Assumption]

    def __getitem__(self, file: str) -> FileChange:
        for change in self.files:
            if change.file == file:
                return change
        raise KeyError(file)

    def verdict(self, subject: str) -> VerdictChange:
        """Return the change of the verdict on a vulnerability or a further subject.

        Raises:
            KeyError: there is no verdict on it.
        """
        for change in (*self.vulnerabilities, *self.further):
            if change.subject == subject:
                return change
        raise KeyError(subject)
