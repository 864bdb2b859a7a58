"""Audits of every configuration of a space: as many guests are lied to or exposed as the prover counts there.

The prover never sees a guest: it counts models of decision diagrams. The audit never sees a space: it reads rows.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import duckdb
import pytest

from archcaps.fleet.audit import audit
from archcaps.fleet.classes import NO_MATTER
from archcaps.fleet.inventory import find
from archcaps.questions.prove import prove
from archcaps.rules.properties import VIOLATIONS
from archcaps.rules.shown import model
from archcaps.rules.verdict import Truth, truth
from archcaps.space.names import CPUS, DEVIATES, KERNELS, OTHER_PART, UNKNOWN
from archcaps.space.space import Space
from archcaps.space.survey import Survey
from archcaps.tables.bits import BITS
from archcaps.tables.names import VULNERABILITIES
from archcaps.tables.properties import properties
from tests.fleet.every_configuration import COMPARED, Configurations
from tests.space.brute import Part

#: With ARCHCAPS_FLEET_ROWS (make fleet-check): more kernels, more free bits, every vulnerability.
FULL = int(os.environ.get("ARCHCAPS_FLEET_ROWS", "0")) >= 1_000_000
INTEL, AMD = "GenuineIntel", "AuthenticAMD"
CASCADE_LAKE, SKYLAKE, TREMONT = Part(INTEL, 6, 0x55, 7), Part(INTEL, 6, 0x55, 4), Part(INTEL, 6, 0x86, 5)
MILAN, TURIN = Part(AMD, 0x19, 0x01, 1), Part(AMD, 0x1A, 0x02, 1)

#: Guests are shown the three Intel parts, in every stepping, that Linux lists for both; Tremont is one. Nobody says
#: that Cascade Lake is affected by MDS, so without MDS_NO it is undecided whether its guests are told the truth.
CLEARING = Configurations(
    hosts=(CASCADE_LAKE, TREMONT),
    host_kernels=("6.12.117",),
    guest_kernels=("6.12.117",),
    shown={"listed_mmio": True, "listed_rfds": True},
    host_bits=("mds_no", "fb_clear_ctrl"),
    guest_bits=("mds_no", "md_clear", "fb_clear", "rfds_no"),
    host_has=("arch_capabilities", "rdcl_no", "md_clear", "flush_l1d", "fb_clear"),
    guest_has=("arch_capabilities", "hypervisor", "flush_l1d"),
    silicon=False,
)
#: By the axioms Skylake is affected by MDS, and what has RTM has AVX2 and AVX.
TRANSACTIONS = Configurations(
    hosts=(SKYLAKE,),
    host_kernels=("6.12.117",),
    guest_kernels=("6.12.117",),
    shown=CLEARING.shown,
    host_bits=("rtm", "md_clear", "avx", "avx2"),
    guest_bits=("rtm", "md_clear", "taa_no"),
    host_has=(),
    guest_has=("arch_capabilities", "hypervisor"),
    silicon=True,
)
#: Guests are shown the parts of which AMD published the microcode that clears; whether Turin is affected nobody says.
ZEN = Configurations(
    hosts=(MILAN, TURIN),
    host_kernels=("6.12.117",),
    guest_kernels=("6.12.117",),
    shown={"tsa_microcode": True},
    host_bits=("verw_clear", "tsa_sq_no", "tsa_l1_no", "avx", "avx2"),
    guest_bits=("verw_clear", "tsa_sq_no", "tsa_l1_no", "tsa_fill_no"),
    host_has=(),
    guest_has=("hypervisor",),
    silicon=True,
)
#: With the vulnerabilities that are asked about.
SPACES = {
    "clearing": (CLEARING, ("mds", "mmio_stale_data", "reg_file_data_sampling")),
    "transactions": (TRANSACTIONS, ("tsx_async_abort",)),
    "zen": (ZEN, ("tsa",)),
}
LARGER = {
    "clearing": replace(
        CLEARING, host_kernels=("5.15.47", "6.12.117"), guest_kernels=("5.10.265", "6.12.117"),
        host_bits=(*CLEARING.host_bits, "fb_clear"), host_has=CLEARING.host_has[:-1],
    ),
    "transactions": replace(
        TRANSACTIONS, host_kernels=("5.15.47", "6.12.117"), guest_kernels=("5.10.265", "6.12.117"),
        guest_bits=(*TRANSACTIONS.guest_bits, "mds_no", "rtm_always_abort"),
    ),
    "zen": replace(
        ZEN, host_kernels=("6.1.143", "6.12.117"), guest_kernels=("6.1.192", "7.1.5"),
        guest_bits=(*ZEN.guest_bits, "flush_l1d"), host_bits=(*ZEN.host_bits, "tsa_fill_no"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Audited:
    """A folder with every configuration of a space, and with what an audit says of each."""

    folder: Path

    def answers(self, question: str, space: Space, told: Collection[str]) -> Counter[str]:
        """Return in how many configurations of a space each answer is given; those not `told` are one.

        Guests that differ only in what the space does not tell apart are one configuration of it.
        """
        keys = ("h.model", "h.stepping", "g.model", "g.stepping", "g.config", *told_apart(space))
        names = ", ".join(f"'{answer}'" for answer in told)
        found = duckdb.execute(
            f"""
            SELECT answer, count(*) FROM (
                SELECT DISTINCT {", ".join(keys)}, CASE WHEN {question} IN ({names}) THEN {question} END AS answer
                FROM '{self.folder}/guests.parquet' g JOIN '{self.folder}/out/verdicts.parquet' v USING (guest_id)
                JOIN '{self.folder}/hosts.parquet' h ON h.host_id = g.host_id
            ) GROUP BY answer
            """
        )
        return Counter({answer or "another": count for answer, count in found.fetchall()})


def told_apart(space: Space) -> Iterator[str]:
    """Yield in SQL what a space's configurations differ in besides parts, and kernels built with KVM or without."""
    kernels = {kernel_of(name) for name in space.facts}
    if "host_kernel" in kernels:
        yield "h.kernel"
    if "guest_kernel" in kernels:
        yield "g.kernel"
    for name in space.diagrams.names:
        # Of one host the value of a bit says whether it deviates, and the other way round.
        deviates = name.startswith(DEVIATES)
        scope, _, what = (f"guest.{name.removeprefix(DEVIATES)}" if deviates else name).partition(".")
        table = "h" if scope == "host" else "g"
        if what in BITS:
            yield f"{table}.{BITS[what].register} & {BITS[what].mask}"
        elif what == "recent_microcode":
            yield f"{table}.microcode"
        elif name != OTHER_PART and not name.startswith(UNKNOWN) and name != "assume.user_mmio":
            yield f"{table}.{what}"


def kernel_of(fact: str) -> str:
    """Return the kernel that decides a fact, itself or by its list of parts."""
    scope, _, what = fact.partition(".")
    return CPUS[scope][1] if what.startswith("listed_") and scope in CPUS else scope if scope in KERNELS else ""


def truths_proved(subject: str, configurations: Configurations) -> tuple[Counter[str], Space]:
    """Return in how many configurations each truth is sure, and in how many none is; and what tells these apart."""
    roots = {each: truth(model().guest, subject).is_in([each]) for each in Truth}
    spaces = {each: Space(root, configurations.bounds, 3600, roots.values()) for each, root in roots.items()}
    surveys = {each: Survey(space) for each, space in spaces.items()}
    sure = Counter({str(each): survey.sure for each, survey in surveys.items()})
    every = surveys[Truth.TRUTHFUL].configurations
    return +(sure + Counter(undecided=every - sure.total())), spaces[Truth.TRUTHFUL]


@pytest.mark.parametrize("name", SPACES if FULL else ("transactions", "zen"))
def test_an_audit_counts_what_the_prover_counts(name: str, tmp_path: Path) -> None:
    configurations, asked = (LARGER[name], VULNERABILITIES) if FULL else SPACES[name]
    guests = configurations.write(tmp_path)
    assert guests >= 1 << (16 if name == "clearing" else 14)
    result = audit(find(str(tmp_path)), tmp_path / "out", wide=True).result
    assert (result.guests, result.rejected) == (guests, [])
    audited = Audited(tmp_path)
    seen = Counter[str]()
    for property_name, subject in product(COMPARED, asked):
        question, forbidden = COMPARED[property_name]
        (said,) = prove(property_name, configurations.bounds, subjects=[subject], counts=True, seconds=3600).outcomes
        space = Space(VIOLATIONS[properties()[property_name].forbids](subject), configurations.bounds)
        # Of a truth that is undecided others may be possible than the one forbidden.
        told = (forbidden,) if question == "truth" else (forbidden, "undecided")
        found = audited.answers(f"{subject}_{question}", space, told)
        assert found.total() == int(said.configurations), (property_name, subject)
        assert found[forbidden] == int(said.refuting), (property_name, subject)
        assert question == "truth" or found["undecided"] == int(said.hanging), (property_name, subject)
        seen += found
    assert {forbidden for _, forbidden in COMPARED.values()} <= seen.keys()
    for subject in asked if FULL or name == "zen" else ():
        proved, space = truths_proved(subject, configurations)
        said_of_truth = audited.answers(f"{subject}_truth", space, [*Truth, NO_MATTER, "undecided"])
        # The prover knows of no pair of truths that does not matter.
        said_of_truth["undecided"] += said_of_truth.pop(NO_MATTER, 0)
        assert +said_of_truth == proved, subject
