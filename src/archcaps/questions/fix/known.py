"""What changes really do, and what only makes known how it is: a change counts where it helps whatever is not known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from msgspec import structs

from archcaps.machine.observations import texts_of
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.fix.cpus import Form
from archcaps.questions.fix.flags import Toggle
from archcaps.questions.fix.hosts import Variant
from archcaps.questions.fix.results import Judged
from archcaps.questions.fix.search import Found, Search
from archcaps.questions.fix.short import judged
from archcaps.questions.fix.worlds import Parts
from archcaps.questions.results import FINE
from archcaps.rules.verdict import Truth

__all__ = ["of_use", "with_files_seen"]

#: The behaviour that a file which is there shows. Source: Linux drivers/base/cpu.c
_SHOWN_BY: Final = {
    "mds": "has_mds", "tsx_async_abort": "has_taa", "mmio_stale_data": "has_mmio_stale_data",
    "reg_file_data_sampling": "has_rfds", "tsa": "has_tsa", "srbds": "has_srbds", "retbleed": "has_retbleed",
    "gather_data_sampling": "has_gds", "spec_rstack_overflow": "has_srso", "indirect_target_selection": "has_its",
    "vmscape": "has_vmscape", "old_microcode": "has_old_microcode", "ghostwrite": "has_ghostwrite",
}  # fmt: skip


#: The truths that each fault leaves out: a lie, something untrue that is no work for nothing, something untrue.
_FINE: Final = {
    "lie": frozenset(each.value for each in Truth if each not in (Truth.FALSE_IMMUNITY, Truth.BROKEN_PROMISE)),
    "untrue": FINE | {Truth.NEEDLESS_WORK.value},
    "vain": FINE,
}


def with_files_seen(machine: Snapshot) -> Snapshot:
    """Return the machine with what the files that are there show of its kernel: that stays so when texts change."""
    seen = {_SHOWN_BY[file]: True for file in texts_of(machine) if file in _SHOWN_BY}
    kernel = machine.kernel
    return structs.replace(machine, kernel=structs.replace(kernel, behaviours={**seen, **kernel.behaviours}))


def _faults(found: Sequence[Judged]) -> dict[tuple[str, str], bool | None]:
    """Return what can be at fault with each vulnerability, and whether it surely is or surely is not."""
    faults: dict[tuple[str, str], bool | None] = {}
    for each in found:
        faults[each.vulnerability, "leak"] = True if each.exposed else False if each.safe else None
        told = frozenset(each.truth.possible)
        for name, fine in _FINE.items():
            faults[each.vulnerability, name] = True if not told & fine else False if told <= fine else None
    return faults


def of_use(search: Search, found: Found) -> Found | None:
    """Return the changes without those that no verdict gets surely bad without; None if they mend nothing surely.

    Such a change does no more than to replace something unknown by something known. To show what KVM offers is more:
    that counts where a fault could be, and surely is not any more.
    """
    before = _faults(judged(search.bare))
    if None not in before.values():  # nothing is to be made known, and the search found no less that does as well
        return found
    kept = found
    after = _faults(judged(search.made(found.world.parts, found.chosen)[0]))
    for less, tells in _each_left_out(search, found):
        fewer = less(kept)
        now = _faults(judged(search.made(fewer.world.parts, fewer.chosen)[0]))
        if not any(_is_fault(so, tells) and not _is_fault(after[fault], tells) for fault, so in now.items()):
            kept = fewer
    if not kept.steps:
        return None
    tells = all(map(_tells, kept.chosen)) and not kept.world.parts.steps
    now = _faults(judged(search.made(kept.world.parts, kept.chosen)[0]))
    return kept if any(_is_fault(so, tells) and now[fault] is False for fault, so in before.items()) else None


def _is_fault(so: bool | None, possibly: bool) -> bool:
    """Whether there surely is a fault, or `possibly`."""
    return so is not False if possibly else so is True


def _tells(toggle: Toggle) -> bool:
    """Whether a bit is shown as KVM offers it: right whatever is not known."""
    return toggle.on and toggle.step.kind == "guest-flags"


def _each_left_out(search: Search, found: Found) -> Iterator[tuple[Callable[[Found], Found], bool]]:
    """Yield what leaves each part of the changes out, those of the kernels first, and whether it shows an offer."""
    start = search.start

    def without_parts(kept: Found, change: Callable[[Parts], Parts]) -> Found:
        return replace(kept, world=replace(kept.world, parts=change(kept.world.parts)))

    def without_bit(kept: Found, bit: str) -> Found:
        return replace(kept, chosen=tuple(each for each in kept.chosen if each.bit != bit))

    parts = found.world.parts
    if parts.guest.steps:
        yield partial(without_parts, change=lambda now: replace(now, guest=Variant((), start.guest))), False
    if parts.host.steps:
        yield partial(without_parts, change=lambda now: replace(now, host=Variant((), start.host))), False
    if parts.cpu.steps:
        yield partial(without_parts, change=lambda now: replace(now, cpu=Form())), False
    for toggle in found.chosen:
        yield partial(without_bit, bit=toggle.bit), _tells(toggle)
