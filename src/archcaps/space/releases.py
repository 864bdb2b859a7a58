"""Every kernel release that was read, and what each one is to the rules: behaviours, options, which lists of parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Final

from archcaps.errors import InputError
from archcaps.machine.cmdline import parse
from archcaps.machine.given_options import ASSUMED_CONFIG, Options, config_items
from archcaps.machine.l1tf import kvm_lookups
from archcaps.machine.options import option_values
from archcaps.machine.snapshot import Kernel
from archcaps.tables.files import read_csv
from archcaps.tables.kernels import BEHAVIOURS, LONG_TERM, Release, behaviour
from archcaps.tables.linux_lists import EVERY_LIST, lists_for

__all__ = [
    "MODULE_PARAMETERS",
    "choose_releases",
    "fact_at",
    "list_groups",
    "newest_of_lines",
    "ranges",
    "releases",
]

#: Parameters of KVM's modules as they are where nobody sets them. Source: Linux 7.1.5 arch/x86/kvm/vmx/vmx.c, x86.c
MODULE_PARAMETERS: Final[Mapping[str, str]] = {"vmentry_l1d_flush": "auto", "ept": "Y", "ignore_msrs": "N"}
#: The tables of readings that speak of KVM and of the VERW family.
_TABLES: Final = ("kernels/readings/verw_family.csv", "kernels/readings/kvm.csv")


@cache
def releases() -> tuple[Release, ...]:
    """Return the releases whose KVM or whose handling of VERW was read, oldest first; no release candidates."""
    names = {row["release"] for table in _TABLES for row in read_csv(table)}
    found = [Release.parse(name) for name in names]
    found = sorted((each for each in found if not each.version.is_prerelease), key=lambda each: each.version)
    return tuple(found)


def choose_releases(words: str, where: str) -> frozenset[int]:
    """Return the places of the releases that `words` name, joined by commas.

    ``all``; a release; a line, as ``6.12``; from one to another, as ``6.16-6.19`` or ``6.16-``, with whole lines.

    Raises:
        InputError: a word names none of the releases that were read.
    """
    found: set[int] = set()
    for word in (part.strip() for part in words.split(",")):
        chosen = {place for place, release in enumerate(releases()) if _named(word, release, where)}
        if not chosen:
            known = ", ".join(dict.fromkeys(release.line for release in releases()))
            raise InputError(
                f"no release that was read is {word!r} (expected all, or some of the lines {known})", where
            )
        found |= chosen
    return frozenset(found)


def _named(word: str, release: Release, where: str) -> bool:
    if word == "all":
        return True
    first, dash, last = word.partition("-")
    try:
        low = Release.parse(first or "0.0").version
        high = Release.parse(last or "99.0").version if dash else low
    except ValueError as error:
        raise InputError(str(error), where) from error
    line = release.version.release[:2]
    whole = (last or first).count(".") == 1 if dash else first.count(".") == 1
    if dash:
        return low <= release.version and (release.version <= high or (whole and line == high.release[:2]))
    return line == low.release[:2] if whole else release.version == low


def newest_of_lines() -> frozenset[int]:
    """Return the places of the newest release of the two newest long-term lines, and of the newest of all."""
    newest = {release.line: place for place, release in enumerate(releases())}
    long_term = [place for line, place in newest.items() if line in LONG_TERM]
    return frozenset((*long_term[-2:], len(releases()) - 1))


def ranges(places: Iterable[int], among: Iterable[int]) -> list[str]:
    """Return releases in words: one by one, or the first and the last of several without a gap in `among`.

    A long-term line stands apart from what came after its first release.
    """
    chosen, found = set(places), list[list[Release]]()
    for place in sorted(among):
        release = releases()[place]
        if place not in chosen:
            found.append([])
        elif found and found[-1] and found[-1][-1].line == release.line:
            found[-1].append(release)
        else:
            found.append([release])
    runs = [run for run in found if run]
    return [run[0].text if len(run) == 1 else f"{run[0].text} to {run[-1].text}" for run in runs]


def fact_at(place: int, cmdline: str, what: str, *, host: bool, kvm_built: bool) -> bool | None:
    """Return a behaviour or an option, by name, of the release at `place` with this command line; None: unknown.

    The configuration is upstream's, with KVM built or not; the modules of a host have their default parameters.
    """
    if what in BEHAVIOURS:
        return behaviour(what, releases()[place]).value
    return _options(place, cmdline, host, kvm_built).get(what)


class _Behaviours(Mapping[str, bool | None]):
    """The behaviours of a release, looked up when they are asked for."""

    def __init__(self, release: Release) -> None:
        self._release = release

    def __getitem__(self, name: str) -> bool | None:
        return behaviour(name, self._release).value

    def __iter__(self) -> Iterator[str]:
        return iter(BEHAVIOURS)

    def __len__(self) -> int:
        return len(BEHAVIOURS)


@cache
def _options(place: int, cmdline: str, host: bool, kvm_built: bool) -> Mapping[str, bool | None]:
    config = _config(kvm_built)
    behaviours = _Behaviours(releases()[place])
    options: dict[str, bool | None] = {**option_values(cmdline, config, behaviours), "xen_pv": False}
    if host:
        options |= kvm_lookups(MODULE_PARAMETERS, Options(parse(cmdline), config, behaviours))
    return options


@cache
def _config(kvm_built: bool) -> Mapping[str, str]:
    return {**(config_items(Kernel(config=ASSUMED_CONFIG), "") or {}), "KVM": "y" if kvm_built else "n"}


@cache
def list_groups(which: str, flag: str) -> tuple[int, ...]:
    """Return for each release the place of the first one that asks the same lists of `flag`."""
    first: dict[object, int] = {}
    found = []
    for place, release in enumerate(releases()):
        versions, where = lists_for(which, flag, release)
        found.append(first.setdefault((versions, where == EVERY_LIST), place))
    return tuple(found)
