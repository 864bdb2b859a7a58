"""What no set of changes mends, and why."""

from __future__ import annotations

from collections.abc import Sequence

from archcaps.questions.check import verdict_on
from archcaps.questions.fix.results import Cure, Remaining
from archcaps.questions.fix.search import Search
from archcaps.questions.fix.short import in_short
from archcaps.questions.reader import Reader
from archcaps.questions.results import Verdict

__all__ = ["remaining"]

_CLEARS = {
    "mds": "MD_CLEAR on a part without MDS_NO",
    "tsx_async_abort": "MD_CLEAR, and the TAA microcode on a part with MDS_NO",
    "mmio_stale_data": "FB_CLEAR, or MD_CLEAR where it implies that",
    "reg_file_data_sampling": "RFDS_CLEAR",
    "tsa": "VERW_CLEAR or the microcode against TSA",
}


def remaining(search: Search, cure: Cure | None, now: Sequence[Verdict]) -> list[Remaining]:
    """Return each vulnerability that is not surely told the truth and safe after `cure`, or as it is without one."""
    after = in_short(now) if cure is None else cure.after
    names = [verdict.vulnerability for verdict in after if not verdict.fine]
    found = {verdict.vulnerability: verdict for verdict in now}
    if cure is not None and names:
        reader = Reader(cure.host, cure.guest, search.start.assumptions)
        found = {name: verdict_on(reader, name) for name in names}
    left_out = ["not all that may be changed was looked at"] if search.left_out else []
    return [_of(found[name], left_out, mendable=name in search.mendable) for name in names]


def _of(verdict: Verdict, left_out: list[str], *, mendable: bool) -> Remaining:
    return Remaining(
        verdict.vulnerability,
        verdict.truth,
        verdict.safety,
        verdict.host_safety,
        [*_why(verdict, mendable=mendable), *left_out],
        verdict.decided_by,
        verdict.missing,
    )


def _why(verdict: Verdict, *, mendable: bool) -> list[str]:
    """Return the reasons as sentences' parts, what is deepest first."""
    name, found = verdict.vulnerability, []
    if verdict.missing:
        found.append("facts are missing, and what is not known does not count as mended")
    if verdict.affected and verdict.verw_works is False:
        found.append(f"the silicon is affected, and VERW does not clear in this guest (it takes {_CLEARS[name]})")
    elif verdict.affected is False and verdict.truth.value in ("false-alarm", "needless-work"):
        found.append("the silicon is not affected, but nothing that may be changed tells the guest so")
    elif verdict.affected and verdict.verw_works and verdict.runs_verw is False:
        found.append("VERW would clear, but nothing that may be changed makes the guest run it")
    if verdict.exposes_host and verdict.cleared_before_entry is False:
        found.append("the host does not clear before it enters the guest")
    if mendable:
        found.append("it can be mended alone, but not together with the others at this level")
    return found or ["none of the changes that may be made reaches it"]
