"""A set of changes that was found, as an answer: made, and looked at once more as `check` does."""

from __future__ import annotations

from functools import partial

from archcaps.questions.fix.changes import total
from archcaps.questions.fix.flags import words
from archcaps.questions.fix.goals import Rank, rank_of
from archcaps.questions.fix.hosts import Variant
from archcaps.questions.fix.kernels import earliest, present, with_release
from archcaps.questions.fix.results import Cure, Step
from archcaps.questions.fix.search import Found, Search
from archcaps.questions.fix.short import judged
from archcaps.questions.fix.worlds import Parts
from archcaps.questions.reader import Reader
from archcaps.tables.changes import bits
from archcaps.tables.releases import Release

__all__ = ["cure_of"]


def cure_of(search: Search, found: Found, rank: Rank) -> Cure:
    """Return a set of changes as a cure, its verdicts from a second reading of the changed snapshots.

    Raises:
        RuntimeError: that reading says something else than the search did: a fault of archcaps.
    """
    start = search.start
    reader, text = search.made(found.world.parts, found.chosen)
    if rank_of(reader.ternary.value) > rank:
        raise RuntimeError(
            f"the search found level {rank}, a second look {rank_of(reader.ternary.value)}: {found.steps}"
        )
    steps = [_oldest(search, found, step, rank) for step in found.steps]
    return Cure(
        steps,
        total(steps),
        rank[0],
        judged(reader),
        words(start.guest, reader.guest),
        [entry.name for entry in bits() if search.has(entry.name) and _untrue(reader, entry.name)],
        reader.guest,
        reader.host,
        text,
    )


def _untrue(reader: Reader, bit: str) -> bool:
    """Whether the guest is shown a bit that the hardware has not, and that would not be true of it either."""
    value, model = reader.ternary.value, reader.model
    has = [value(cpu.bit(bit)) for cpu in (model.guest.cpu, model.silicon, model.true.cpu)]
    return has == [True, False, False]


def _oldest(search: Search, found: Found, step: Step, rank: Rank) -> Step:
    """Return a change of a kernel with the oldest release of its line that was found to be enough."""
    if step.release is None:
        return step
    role = "guest" if step.kind == "guest-kernel" else "host"
    now = present(search.start.guest if role == "guest" else search.start.host)
    assert now is not None
    enough = partial(_enough, search, found, role, rank)
    oldest = earliest(Release.parse(step.release), now, enough)
    return Step(
        step.kind, _from(step, oldest), step.owner, step.cost, step.needs, step.source, release=step.release,
        enough_from=oldest.text,
    )  # fmt: skip


def _from(step: Step, oldest: Release) -> str:
    return step.what if oldest.text == step.release else f"{step.what} (enough: {oldest.text})"


def _enough(search: Search, found: Found, role: str, rank: Rank, release: Release) -> bool:
    parts = found.world.parts
    other = Parts(
        _under(parts.host, release) if role == "host" else parts.host,
        _under(parts.guest, release) if role == "guest" else parts.guest,
        parts.cpu,
    )
    reader, _ = search.made(other, found.chosen)
    return rank_of(reader.ternary.value) <= rank


def _under(variant: Variant, release: Release) -> Variant:
    return Variant(variant.steps, with_release(variant.machine, release))
