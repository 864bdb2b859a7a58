"""kernel: what does this kernel release do, and since when?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

from archcaps.errors import InputError
from archcaps.logic.ternary import Ternary
from archcaps.questions.kernel_results import (
    FORMAT_VERSION,
    BehaviourLine,
    DistributionFacts,
    KernelAnswer,
    KernelAssumption,
    KernelProfile,
    Mask,
    ShortAnswer,
)
from archcaps.rules.kvm_offer import Kvm, in_mask
from archcaps.rules.views import Cpu, Kernel
from archcaps.tables.bits import ARCH_CAPABILITIES
from archcaps.tables.files import read_csv, read_toml
from archcaps.tables.history import OTHER, change, observation_of, since
from archcaps.tables.kernels import BEHAVIOURS, Finding, Release, behaviour
from archcaps.tables.suppositions import Supposition, limits_of, supposed, suppositions_of

__all__ = ["kernel", "running_kernel"]

_SIGNATURE = Path("/proc/version_signature")


def kernel(releases: Sequence[str], version_text: str | None = None, *, strict: bool = False) -> KernelAnswer:
    """Return what each of `releases` does, under what is supposed of them; nothing is, if `strict`.

    `version_text` is what ``uname -v``, /proc/version or /proc/version_signature says on a machine that runs the only
    one of them: some distributions name the upstream point release there alone.

    Raises:
        InputError: a release is none, or `version_text` does not name its point release.
    """
    if version_text is not None and len(releases) != 1:
        raise InputError("the text of uname -v belongs to one release", "--version-text")
    profiles = [_profile(_release(text), version_text, strict=strict) for text in releases]
    return KernelAnswer(FORMAT_VERSION, profiles, list(_differences(profiles)))


def running_kernel() -> tuple[str, str | None]:
    """Return the release of the kernel that runs here, and the text that names its point release if there is one.

    Raises:
        InputError: it is no Linux.
    """
    system = os.uname()
    if system.sysname != "Linux":
        raise InputError(f"this machine runs {system.sysname}, not Linux: name a release")
    texts = [system.version]
    with suppress(OSError):  # only Ubuntu's kernels have it
        texts.append(_SIGNATURE.read_text(encoding="utf-8", errors="replace"))
    release = _release(system.release)
    return system.release, next((text for text in texts if release.made_from(text)), None)


def _release(text: str) -> Release:
    try:
        return Release.parse(text)
    except ValueError as error:
        raise InputError(str(error)) from error


def _profile(asked: Release, version_text: str | None, *, strict: bool) -> KernelProfile:
    made_from = None if version_text is None else asked.made_from(version_text)
    if version_text is not None and made_from is None:
        raise InputError(
            f"{_short(version_text)!r} does not name the upstream release that {asked.text} is made from",
            "--version-text",
        )
    release = (made_from or asked).doubted
    findings = {name: supposed(partial(behaviour, name), release, strict=strict) for name in BEHAVIOURS}
    values = {name: finding.value for name, finding in findings.items()}
    suppositions = () if strict else suppositions_of(release)
    lines = [_line(name, finding, release) for name, finding in _in_reading_order(findings)]
    return KernelProfile(
        asked.text,
        _upstream(release, suppositions),
        _distribution(asked),
        _assumption(asked, made_from, suppositions),
        [KernelAssumption(each.name, each.text) for each in suppositions],
        _one_reason(lines, release),
        _mask(values),
        list(_short_answers(values)),
        lines,
    )


def _one_reason(lines: Sequence[BehaviourLine], release: Release) -> str:
    """Return why what is not known of a release is not: nothing is, or what somebody may have patched."""
    reasons = {line.source for line in lines if line.value is None}
    nothing = all(line.value is None for line in lines)
    return reasons.pop() if len(reasons) == 1 and (nothing or limits_of(release)) else ""


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _upstream(release: Release, suppositions: Sequence[Supposition]) -> str | None:
    """Return the upstream release whose readings speak for another; None: only those of what all later ones share."""
    if suppositions:
        return suppositions[-1].stands_in.text
    return f"{release.version}".replace("rc", "-rc") if release.is_upstream else None


def _distribution(release: Release) -> DistributionFacts | None:
    found = release.distribution
    if found is None:
        return None
    return DistributionFacts(found.name, found.version.value, found.meaning, found.observation, found.source)


def _assumption(asked: Release, made_from: Release | None, suppositions: Sequence[Supposition]) -> str:
    said = [each.text for each in suppositions]
    if made_from is not None:
        changed = asked.distribution.name if asked.distribution else "somebody"
        said.insert(
            0,
            f"{asked.text} is made from {made_from.text}, as its version text says, and does what that does; what "
            f"{changed} changed besides is not known",
        )
    return "; ".join(said)


def _mask(values: Mapping[str, bool | None]) -> Mask:
    """Return what KVM's mask lets through, by the rule in_mask."""
    ternary = Ternary({f"host_kernel.{name}": value for name, value in values.items()})
    kvm = Kvm(Cpu("host"), Kernel("host_kernel"))
    passes = {name: ternary.value(in_mask(kvm, name)) for name in ARCH_CAPABILITIES}
    return Mask(
        f"{sum(ARCH_CAPABILITIES[name].mask for name, value in passes.items() if value):#x}",
        f"{sum(ARCH_CAPABILITIES[name].mask for name, value in passes.items() if value is None):#x}",
        values["arch_cap_mask"],
    )


def _short_answers(values: Mapping[str, bool | None]) -> Iterator[ShortAnswer]:
    """Yield for each question of profile.toml its answer, or every one that the unknown behaviours leave possible."""
    for question in read_toml("kernels/profile.toml")["question"]:
        possible = []
        for answer in question["answer"]:
            needs = [values[name] for name in answer["needs"]]
            if False in needs:
                continue
            possible.append(answer)
            if None not in needs:
                break
        yield ShortAnswer(
            question["name"],
            question["title"],
            [answer["name"] for answer in possible],
            [answer["text"] for answer in possible],
            list(dict.fromkeys(name for answer in question["answer"] for name in answer["needs"])),
            question["source"],
        )


@cache
def _order() -> Mapping[str, int]:
    return {row["behaviour"]: number for number, row in enumerate(read_csv("kernels/observations.csv"))}


def _in_reading_order(findings: Mapping[str, Finding]) -> list[tuple[str, Finding]]:
    """Return the behaviours by theme, in the order of observations.csv; those that it does not name come last."""
    order = _order()
    return sorted(findings.items(), key=lambda item: (observation_of(item[0]).theme == OTHER, order.get(item[0], 0)))


def _line(name: str, finding: Finding, release: Release) -> BehaviourLine:
    item, seen = BEHAVIOURS[name], observation_of(name)
    first = later = None
    source = finding.source
    if finding.value is None:  # the meaning stands beside it
        source = source.replace(f"{item.meaning}: ", "").replace(f" ({item.meaning})", "")
    else:
        of = _stand_in(finding, release)
        first, later = since(name, of), change(name, of, value=finding.value)
    return BehaviourLine(
        name, seen.theme, item.meaning, finding.value, source,
        first.first if first else None, first.before if first else None, first is not None and first.exact,
        later.first if later else None, later is not None and later.exact,
        item.source, seen.observation, finding.assumed,
    )  # fmt: skip


def _stand_in(finding: Finding, release: Release) -> Release:
    """Return the release whose readings a finding is of."""
    standing_in = [each.stands_in for each in suppositions_of(release) if each.text in finding.source]
    return standing_in[-1] if finding.assumed else release


def _differences(profiles: Sequence[KernelProfile]) -> Iterator[str]:
    """Yield what is not the same in all profiles."""
    if len({(item.mask.passes, item.mask.unknown, item.mask.masked) for item in profiles}) > 1:
        yield "mask"
    for answers in zip(*(item.profile for item in profiles), strict=True):
        if len({tuple(answer.answers) for answer in answers}) > 1:
            yield answers[0].question
    for lines in zip(*(item.behaviours for item in profiles), strict=True):
        if len({line.value for line in lines}) > 1:
            yield lines[0].name
