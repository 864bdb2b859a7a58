"""The typed answer of `kernel`: printed, written as JSON, and returned to Python."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "FORMAT_VERSION",
    "BehaviourLine",
    "DistributionFacts",
    "KernelAnswer",
    "KernelAssumption",
    "KernelProfile",
    "Mask",
    "ShortAnswer",
]

FORMAT_VERSION = 1


@dataclass(eq=False)
class DistributionFacts:
    """Whose kernel it is by its suffix, what its version tells there, and where the upstream release stands."""

    name: str
    version: str
    meaning: str
    observation: str
    source: str


@dataclass(eq=False)
class Mask:
    """The bits of the host's IA32_ARCH_CAPABILITIES that KVM passes on, as 64-bit numbers in hexadecimal.

    `passes` has those that are known to pass, `unknown` those of which it is not known. `masked` says whether there is
    a mask at all (null: unknown); without one whatever the host has passes, known or not.
    """

    passes: str
    unknown: str
    masked: bool | None


@dataclass(eq=False)
class ShortAnswer:
    """The answer to one question of the short profile; more than one where behaviours it needs are unknown."""

    question: str
    title: str
    answers: list[str]
    texts: list[str]
    rests_on: list[str]
    source: str


@dataclass(eq=False)
class BehaviourLine:
    """One behaviour of this kernel: `value` is null where it is unknown, and `source` then says why.

    `assumed`: it is so under the assumptions of its profile.

    `since` is the first release read that has it so, without a gap; `not_in` the last one before, with the other value
    (null: none was read); `exact`: nothing lies between the two. `until` names a later release of the same line that
    has it otherwise. `observation` says what would show it on a machine.
    """

    name: str
    theme: str
    meaning: str
    value: bool | None
    source: str
    since: str | None
    not_in: str | None
    exact: bool
    until: str | None
    until_exact: bool
    commit: str
    observation: str
    assumed: bool = False


@dataclass(eq=False)
class KernelAssumption:
    """What is supposed of a release: the assumption's name, and the sentence."""

    name: str
    text: str


@dataclass(eq=False)
class KernelProfile:
    """What one kernel release does.

    `asked` is the release as given, `upstream` the upstream release whose readings speak for it (null: none can),
    `assumption` what is taken for granted with that, in a sentence, and `assumptions` the same by name;
    `unknown_because` why what is not known is not, where that has one reason.
    """

    asked: str
    upstream: str | None
    distribution: DistributionFacts | None
    assumption: str
    assumptions: list[KernelAssumption]
    unknown_because: str
    mask: Mask
    profile: list[ShortAnswer]
    behaviours: list[BehaviourLine]


@dataclass(eq=False)
class KernelAnswer:
    """The answer of `archcaps kernel`: a profile for each release.

    `differences` names the behaviours and questions (``mask`` too) whose answers are not the same for all of them.
    """

    format_version: int
    kernels: list[KernelProfile]
    differences: list[str] = field(default_factory=list)
