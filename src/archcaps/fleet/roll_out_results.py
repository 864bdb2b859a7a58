"""The answer of a roll-out: guests by verdict before and after, what changes, what it costs, and what was set aside."""

from __future__ import annotations

from typing import Final

import msgspec

from archcaps.fleet.results import PassedOver, Rejected

__all__ = ["FORMAT_VERSION", "ByChange", "ChangedClass", "RollOutResult"]

FORMAT_VERSION: Final = 1


class ByChange(msgspec.Struct, frozen=True):
    """Guests by what one vulnerability's truth or safety was and becomes, where it changes."""

    vulnerability: str
    question: str
    before: str
    after: str
    guests: int


class ChangedClass(msgspec.Struct, frozen=True):
    """A class that gets worse: how many guests, their machines in a line, the verdicts, and what `check` says then."""

    guests: int
    host: str
    guest: str
    before: str
    after: str
    headline: str


class RollOutResult(msgspec.Struct, frozen=True):
    """The answer of `roll-out`.

    `moves` counts guests by verdict before and after (``truthful -> exposed``). `newly_exposed`, `newly_lied_to` and
    `cured` count guests that are (no longer) so for some vulnerability; `newly_open_hosts`: guests to which their host
    opens. `cost`: hosts and guests that are changed, guests that run VERW in vain afterwards and did not before.
    Every number counts guests (and hosts) that are judged as they are and as they will be; all other rows are in
    `rejected`. `supposed` and `passed_over` as in an audit. `files`: what was written, by name.
    """

    format_version: int
    exit_code: int
    changes: list[str]
    only: list[str]
    guests: int
    before: dict[str, int]
    after: dict[str, int]
    moves: dict[str, int]
    newly_exposed: int
    newly_open_hosts: int
    newly_lied_to: int
    newly_undecided: int
    cured: int
    cost: dict[str, int]
    by_vulnerability: list[ByChange]
    worse: list[ChangedClass]
    rejected: list[Rejected]
    supposed: dict[str, int]
    passed_over: list[PassedOver]
    files: dict[str, str]
