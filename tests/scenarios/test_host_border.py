"""What the host leaves open to the guest: S19, S20, S21."""

from __future__ import annotations

import pytest

from archcaps.machine.inline import InlineMachine, overlay
from archcaps.questions.check import check
from tests.scenarios.running import ATTEMPTED, CLEAR, FINE, Case, Name, ask, holds, machine

CASES: dict[Name, Case] = {
    # S19. e6ff1d61de51: with the conditional flush, entries without a flush pending have no VERW either. Up to 6.7 for
    # MDS (and MMIO with it) ...
    ("flush-in-place-of-verw", "host-mds", "guest"): Case(
        2,
        False,
        {"mds": (CLEAR, "mitigated A1 R1 K1", FINE), "mmio_stale_data": (CLEAR, "mitigated A1 R1 K1", FINE)},
        {"mds": "KVM", "mmio_stale_data": "KVM"},
    ),
    # ... up to 6.18 for MMIO alone. The guest is not shown MDS_NO: it clears for MDS without need.
    ("flush-in-place-of-verw", "host-mmio", "guest"): Case(
        2,
        False,
        {
            "mds": (CLEAR, "mitigated A0 R1 K1", "needless-work safe userspace"),
            "mmio_stale_data": (CLEAR, "mitigated A1 R1 K1", FINE),
        },
        {"mmio_stale_data": "KVM"},
    ),
    # S20. 83ebe7157483: up to 6.16 a device that KVM is not told of brings no VERW.
    ("mmio-without-counted-device", "host-6.16", "guest"): Case(
        2, False, {"mmio_stale_data": (CLEAR, "mitigated A1 R0 K1", FINE)}, {"mmio_stale_data": "KVM"}
    ),
    ("mmio-without-counted-device", "host-6.17", "guest"): Case(
        0, False, {"mmio_stale_data": (CLEAR, "mitigated A1 R0 K1", FINE)}
    ),
    # S21. Up to 6.18 VERW comes before FB_CLEAR_DIS ...
    ("verw-after-fb-clear-dis", "host-6.18", "guest"): Case(
        1,
        True,
        {
            "mds": (ATTEMPTED, "no-microcode A0 R1 K0", "false-alarm safe userspace"),
            "mmio_stale_data": (ATTEMPTED, "no-microcode A1 R1 K0", FINE),
        },
    ),
    # ... from 6.19 on after it.
    ("verw-after-fb-clear-dis", "host-7.2", "guest"): Case(
        2,
        True,
        {
            "mds": (ATTEMPTED, "no-microcode A0 R1 K0", "false-alarm safe userspace"),
            "mmio_stale_data": (ATTEMPTED, "no-microcode A1 R1 K0", FINE),
        },
        {"mmio_stale_data": "KVM"},
    ),
}


@pytest.mark.parametrize("name", CASES, ids="/".join)
def test_a_case(name: Name) -> None:
    holds(name, CASES[name])


def on(folder: str, host: str, kernel: str, vulnerability: str, parameter: str | None = None) -> str | None:
    """Return whether the host is safe from the guest under another kernel, or with another vmentry_l1d_flush."""
    there = overlay(machine(folder, host), InlineMachine("host", kernel=kernel))
    if parameter is not None:
        there.kvm.parameters["vmentry_l1d_flush"] = parameter
    return check(there, machine(folder, "guest"))[vulnerability].host_safety.value


@pytest.mark.parametrize(
    ("kernel", "safety"), [("6.4.4", "exposed"), ("6.6.9", "exposed"), ("6.8.0", "safe"), ("6.12.117", "safe")]
)
def test_s19_mds_up_to_6_7(kernel: str, safety: str) -> None:
    assert on("flush-in-place-of-verw", "host-mds", kernel, "mds") == safety


@pytest.mark.parametrize(
    ("kernel", "safety"), [("6.12.117", "exposed"), ("6.18.35", "exposed"), ("6.19.9", "safe"), ("7.2.13", "safe")]
)
def test_s19_mmio_up_to_6_18(kernel: str, safety: str) -> None:
    assert on("flush-in-place-of-verw", "host-mmio", kernel, "mmio_stale_data") == safety


@pytest.mark.parametrize(("parameter", "safety"), [("cond", "exposed"), ("always", "safe"), ("never", "safe")])
def test_s19_is_about_the_conditional_flush(parameter: str, safety: str) -> None:
    """A flush at every entry overwrites the MDS buffers as well; without a flush VERW is run."""
    assert on("flush-in-place-of-verw", "host-mds", "6.6.9", "mds", parameter) == safety


@pytest.mark.parametrize(("kernel", "safety"), [("6.12.117", "exposed"), ("6.16.1", "exposed"), ("6.18.35", "safe")])
def test_s20_up_to_6_16(kernel: str, safety: str) -> None:
    assert on("mmio-without-counted-device", "host-6.16", kernel, "mmio_stale_data") == safety


@pytest.mark.parametrize(
    ("kernel", "safety"),
    [("6.16.1", "safe"), ("6.18.35", "safe"), ("6.19.9", "exposed"), ("7.1.3", "exposed"), ("7.2.13", "exposed")],
)
def test_s21_from_6_19_on(kernel: str, safety: str) -> None:
    assert on("verw-after-fb-clear-dis", "host-7.2", kernel, "mmio_stale_data") == safety


def test_s21_is_said_to_be_derived() -> None:
    texts = [notice.text for notice in ask("verw-after-fb-clear-dis", "host-7.2", "guest").notices]
    assert len(texts) == 1
    assert "FB_CLEAR_DIS" in texts[0]
    assert "not confirmed on hardware" in texts[0]


@pytest.mark.parametrize("value", [1 << 17, 0xE120])
def test_s21_a_guest_with_fb_clear_or_the_five_bits_does_not_cause_it(value: int) -> None:
    guest = overlay(machine("verw-after-fb-clear-dis", "guest"), InlineMachine("guest", arch_capabilities=value))
    result = check(machine("verw-after-fb-clear-dis", "host-7.2"), guest)
    assert result.disable_fb_clear is False
    assert result["mmio_stale_data"].host_safety.value == "safe"
