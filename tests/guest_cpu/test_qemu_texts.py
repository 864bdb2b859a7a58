"""From a -cpu string alone to what a real Linux kernel said under it.

Recorded by booting Debian's Linux 6.1.192 under QEMU: on 81 Intel models of QEMU 11.1, and on configurations made by
hand (their value of MSR 0x10a was put in by a debugger, as QEMU has no names for all of its bits).
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from msgspec.structs import replace

from archcaps.guest_cpu.formats import expand, read_configuration
from archcaps.machine.inline import InlineMachine, overlay
from archcaps.machine.snapshot import Kernel, Snapshot
from archcaps.questions.reader import Reader
from archcaps.rules.linux_files import TEXTS

DATA = Path(__file__).parent / "data"
UNKNOWN_HOST = Snapshot(format_version=1, role="host")
KERNEL = Kernel(release="6.1.192", cmdline="", config="debian-cloud")
#: The files that VERW is about: their text is one, whatever else of the CPU is not known.
VERW = ("mds", "mmio_stale_data", "tsx_async_abort", "reg_file_data_sampling")


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


MODELS, CONFIGURATIONS = rows("linux_6.1.192_on_qemu_models.csv"), rows("linux_6.1.192_on_configurations.csv")


def guest(cpu: str) -> Snapshot:
    shown = expand(read_configuration(cpu, "-cpu", "qemu"), None, None)
    return replace(shown.snapshot, kernel=KERNEL)


def possible(cpu: str, word: str) -> dict[str, list[str | None]]:
    machine = overlay(guest(cpu), InlineMachine("guest", arch_capabilities=word or None))
    reader = Reader(UNKNOWN_HOST, machine)
    case = reader.model.guest
    return {file: list(texts(case.cpu, case.kernel).answer(reader.ternary).possible) for file, texts in TEXTS.items()}


def differences(found: dict[str, list[str | None]], recorded: dict[str, str]) -> list[str]:
    """Where what is answered is not what was recorded: one text for VERW's files, among the possible for the others."""
    names = [name for name in found if name in recorded]
    return [
        f"{name}: {found[name]}, recorded {recorded[name]!r}"
        for name in names
        if (found[name] != [recorded[name]] if name in VERW else recorded[name] not in found[name])
    ]


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row["model"])
def test_what_linux_says_on_a_model(row: dict[str, str]) -> None:
    # The models' speculation controls were not in the boots: forced on, they stop Linux under TCG.
    found = possible(f"{row['model']},spec-ctrl=off,stibp=off,ssbd=off,bhi-ctrl=off,check=off", "")
    assert set(VERW) <= set(found)
    assert differences(found, row) == []


@pytest.mark.parametrize("row", CONFIGURATIONS, ids=lambda row: f"{row['config']} {row['arch_capabilities']}")
def test_what_linux_says_on_a_configuration(row: dict[str, str]) -> None:
    found = possible(row["qemu_cpu"], row["arch_capabilities"] or "none")
    assert differences(found, row) == []


def test_models_that_the_tables_call_alike_are_told_apart() -> None:
    """The recorded answers differ between versions of a model: no constant would pass."""
    said = {row["model"]: row["mmio_stale_data"] for row in MODELS}
    assert said["Cascadelake-Server-v5"] != said["Cascadelake-Server-v6"]
    assert len({tuple(row[name] for name in VERW) for row in MODELS}) > 4
