"""The cure that an audit names for a class: made by hand in the rows of an inventory, it mends the class."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

import archcaps
from archcaps.fleet import cures
from archcaps.fleet.audit import audit
from archcaps.fleet.cures import cure_of_class
from archcaps.fleet.inventory import find
from archcaps.fleet.results import AuditResult, ClassCure
from archcaps.machine.row import row_of, signed
from archcaps.questions.fix.results import Step
from archcaps.report.cures import cure_sentences
from tests.cli.running import archcaps as archcaps_says
from tests.questions.fix.test_brute_force import PLACES
from tests.scenarios.running import machine

Row = dict[str, Any]

#: Published lies: the example's folder, host and guest.
PLANTED = {
    "thread": ("thread", "host", "guest"),
    "s04": ("fb-clear-not-shown", "host", "guest"),
    "s10": ("tsa-verw-clear-dropped", "host", "guest-6.18"),
    "s11": ("tsa-no-always", "host", "guest"),
    "s19": ("flush-in-place-of-verw", "host-mds", "guest"),
    "s29": ("upgrade-across-6.13", "host-6.12", "guest"),
}

#: A host kernel mends it (docs/scenarios/s20-mmio-without-counted-device.md).
S20 = ("mmio-without-counted-device", "host-6.16", "guest")


def write(folder: Path, pairs: dict[str, tuple[Row, Row]]) -> None:
    """An inventory of one host and one guest for each name."""
    for at, role in enumerate(("host", "guest")):
        rows = [
            {**pair[at], f"{role}_id": name, **({"host_id": name} if role == "guest" else {})}
            for name, pair in pairs.items()
        ]
        (folder / f"{role}s.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[AuditResult, dict[str, str]]:
    """The audit of a fleet of planted lies, and which class each is."""
    folder = tmp_path_factory.mktemp("planted")
    write(folder, {name: planted(name) for name in PLANTED})
    result = audit(find(str(folder)), folder / "out", cures=True).result
    return result, dict(duckdb.execute(f"SELECT guest_id, class FROM '{folder}/out/verdicts.parquet'").fetchall())


def planted(name: str) -> tuple[Row, Row]:
    return row_pair(*PLANTED[name])


def row_pair(folder: str, host: str, guest: str) -> tuple[Row, Row]:
    return row_of(machine(folder, host)), row_of(machine(folder, guest))


def cure_of(audited: tuple[AuditResult, dict[str, str]], name: str) -> ClassCure:
    (one,) = [one for one in audited[0].worst if one.id == audited[1][name]]
    assert one.cure is not None
    return one.cure


def made(steps: Sequence[Step], host: Row, guest: Row) -> tuple[Row, Row]:
    """Make changes in rows: a bit of a word, a release, a parameter. What was observed of another kernel goes."""
    host, guest = dict(host), {name: value for name, value in guest.items() if name != "vulnerabilities"}
    for step in steps:
        if step.bit is not None:
            register, number = PLACES[step.bit]
            word = register or "ia32_arch_capabilities"
            guest[word] = signed(guest.get(word, 0) % (1 << 64) & ~(1 << number) | (1 << number if step.on else 0))
            if f"{word}_known" in guest:
                guest[f"{word}_known"] = signed(guest[f"{word}_known"] % (1 << 64) | 1 << number)
        elif step.kind in ("host-kernel", "guest-kernel"):
            row = host if step.kind == "host-kernel" else guest
            row["kernel"] = step.release
            for name in [name for name in row if name in ("vulnerabilities", "behaviours") or "kvm_offered" in name]:
                del row[name]
        else:
            assert step.what == "kvm_intel.vmentry_l1d_flush=always on the host", step
            parameters = json.loads(host.get("kvm_parameters", "{}")) | {"vmentry_l1d_flush": "always"}
            host["kvm_parameters"] = json.dumps(parameters)
    return host, guest


def test_the_cure_made_in_the_rows_mends_the_class(audited: tuple[AuditResult, dict[str, str]], tmp_path: Path) -> None:
    result, _ = audited
    assert result.verdicts["truthful"] == 0
    assert len(result.worst) == len(PLANTED)
    mended = {name: made(cure_of(audited, name).changes, *planted(name)) for name in PLANTED}
    write(tmp_path, mended)
    again = audit(find(str(tmp_path)), tmp_path / "out").result
    verdicts = dict(duckdb.execute(f"SELECT guest_id, verdict FROM '{tmp_path}/out/verdicts.parquet'").fetchall())
    assert verdicts == dict.fromkeys(PLANTED, "truthful")
    assert again.worst == []
    for name in PLANTED:
        cure = cure_of(audited, name)
        assert (cure.then, cure.remains, cure.complete) == ("truthful", {}, True)
        assert cure_sentences(cure)[0].startswith("Cure: ")


def test_half_of_a_cure_does_not_mend(audited: tuple[AuditResult, dict[str, str]], tmp_path: Path) -> None:
    """The thread's guest needs four bits: with any three of them it is still told what does not hold."""
    changes = cure_of(audited, "thread").changes
    assert len(changes) == 4
    kept = {f"without-{step.bit}": [other for other in changes if other is not step] for step in changes}
    write(tmp_path, {name: made(steps, *planted("thread")) for name, steps in kept.items()})
    assert audit(find(str(tmp_path)), None).result.verdicts["truthful"] == 0


@pytest.mark.parametrize("name", PLANTED)
def test_the_cure_is_that_of_fix(audited: tuple[AuditResult, dict[str, str]], name: str) -> None:
    folder, host, guest = PLANTED[name]
    best = archcaps.fix(machine(folder, host), machine(folder, guest)).best
    assert best is not None
    told = [(step.kind, step.what, step.owner) for step in cure_of(audited, name).changes]
    assert told in [[(step.kind, step.what, step.owner) for step in cure.steps] for cure in best.cures]


def test_what_is_left_after_the_best_that_can_be_done_is_told() -> None:
    """Nobody published whether Turin has TSA: a bit helps the guest, but what leaks from the host stays as it is."""
    found = cure_of_class(*row_pair("tsa-fill-no-missing", "host-turin", "guest"), frozenset())
    assert (found.then, list(found.remains), found.complete) == ("exposed", ["tsa"], True)
    assert len(found.changes) == 1
    sentences = cure_sentences(found)
    assert sentences[0].startswith("The best that can be done: ")
    assert sentences[2].startswith("After that still exposed: tsa (")
    (sentence,) = cure_sentences(cure_of_class(*row_pair("tsa-fill-no-missing", "host-turin", "guest-turin"),
                                               frozenset()))  # fmt: skip
    assert sentence.startswith("No cure: none of the ")


def test_a_bound_that_is_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cures, "_WORLDS", 1)
    found = cure_of_class(*row_pair(*S20), frozenset())
    assert (found.changes, found.complete) == ([], False)
    (sentence,) = cure_sentences(found)
    assert sentence == f"No cure was found within {found.tried:,} sets of changes, the cheapest; there are more."


def test_fix_itself_says_what_it_left_out() -> None:
    folder, host, guest = S20
    pair = machine(folder, host), machine(folder, guest)
    whole, cut = archcaps.fix(*pair), archcaps.fix(*pair, max_worlds=1)
    assert (whole.exit_code, cut.exit_code) == (0, 2)
    assert cut.headline.startswith("NO CURE FOUND: none of the ")
    assert any("a limit was set" in limit for limit in cut.limits)
    assert not any("a limit was set" in limit for limit in whole.limits)
    same = archcaps.fix(*pair, max_worlds=10_000)
    assert msgspec.json.encode(same) == msgspec.json.encode(whole)
    with pytest.raises(archcaps.InputError, match="expected at least one"):
        archcaps.fix(*pair, max_worlds=0)


def test_other_systems_and_audits_without_cures(tmp_path: Path) -> None:
    host, guest = planted("s11")
    write(tmp_path, {"freebsd": (host, {**guest, "system": "freebsd"})})
    (one,) = audit(find(str(tmp_path)), None, cures=True).result.worst
    assert one.cure is not None
    assert cure_sentences(one.cure) == ["No cure was looked for: archcaps can mend Linux guests only."]
    (one,) = audit(find(str(tmp_path)), None).result.worst
    assert one.cure is None


def test_every_form_tells_the_cure_unless_it_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, {"s04": planted("s04")})
    cure = "Cure: show fb_clear (MSR 0x10a bit 17) (VM's owner)."
    for form in ("text", "md"):
        told = archcaps_says("audit", str(tmp_path), "--format", form, "--cures").stdout
        assert cure in " ".join(told.split())
        assert "After that: told the truth, and safe." in " ".join(told.split())
        assert "Cure" not in archcaps_says("audit", str(tmp_path), "--format", form).stdout
    (one,) = json.loads(archcaps_says("audit", str(tmp_path), "--json", "--cures").stdout)["worst"]
    assert [(step["bit"], step["on"], step["kind"]) for step in one["cure"]["changes"]] == [
        ("fb_clear", True, "guest-flags")
    ]
    (one,) = json.loads(archcaps_says("audit", str(tmp_path), "--json").stdout)["worst"]
    assert one["cure"] is None
