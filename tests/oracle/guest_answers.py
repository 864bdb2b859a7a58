"""What the oracle's guest kernel says in every world: each file's text, the bugs, the features of VERW."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from tests.oracle import guest_files, guest_srso
from tests.oracle.guest_branches import Branches
from tests.oracle.guest_buffers import Buffers
from tests.oracle.guest_bugs import bugs_of, features_of
from tests.oracle.guest_worlds import World, worlds

__all__ = ["Answer", "answers"]

_OF_BUFFERS = (
    "mds", "tsx_async_abort", "mmio_stale_data", "reg_file_data_sampling", "tsa", "srbds", "gather_data_sampling",
    "meltdown", "l1tf", "itlb_multihit", "old_microcode", "ghostwrite",
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What one kernel says."""

    files: Mapping[str, str | None]
    bugs: frozenset[str]
    verw: Mapping[str, bool | None]


@cache
def answers() -> tuple[Answer, ...]:
    """Return the oracle's answer for each world."""
    return tuple(_answer(world) for world in worlds())


def _answer(world: World) -> Answer:
    features = features_of(world)
    bugs = bugs_of(world, features)
    branches = Branches(world, features, bugs)
    buffers = Buffers(world, features, bugs, branches)
    smt = buffers.smt_active
    files: dict[str, str | None] = {name: getattr(buffers, name)() for name in _OF_BUFFERS}
    files |= {
        "spectre_v1": guest_files.spectre_v1(branches),
        "spectre_v2": guest_files.spectre_v2(branches, smt_active=smt),
        "spec_store_bypass": guest_files.spec_store_bypass(branches),
        "retbleed": guest_files.retbleed(branches, smt_active=smt),
        "indirect_target_selection": guest_files.indirect_target_selection(branches),
        "spec_rstack_overflow": guest_srso.spec_rstack_overflow(branches),
        "vmscape": guest_srso.vmscape(branches),
    }
    return Answer(files, frozenset(bugs), buffers.features_of_verw())
