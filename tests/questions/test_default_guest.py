"""The guest that gets KVM's default: as published of real KVMs."""

from __future__ import annotations

from pathlib import Path

import archcaps
from archcaps.questions.default_guest import default_guest

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_tsa_defect_shows_without_any_guest_s_file() -> None:
    host = archcaps.read_snapshot(EXAMPLES / "tsa-no-always" / "host.toml")
    result = archcaps.check(host, default_guest(host, "6.18.9"))
    assert result["tsa"].truth.value == "false-immunity"
    assert result["tsa"].safety.value == "exposed"
    assert result["tsa"].responsible.value == "KVM"


def test_observed_and_modelled_offers_agree_on_it() -> None:
    """The same host without the observed words: KVM 6.18 is known to offer both NO bits on every host."""
    text = (EXAMPLES / "tsa-no-always" / "host.toml").read_text(encoding="utf-8").partition("# What KVM passes")[0]
    host = archcaps.parse_snapshot(text.encode(), "x")
    assert host.kvm.offered == {}
    result = archcaps.check(host, default_guest(host, "6.18.9"))
    assert result["tsa"].truth.value == "false-immunity"
    assert result["tsa"].responsible.value == "KVM"


def test_the_host_s_kernel_is_the_guest_s_unless_another_is_named() -> None:
    host = archcaps.read_snapshot(EXAMPLES / "thread" / "host.toml")
    result = archcaps.check(host, default_guest(host))
    assert result.guest_kernel == "6.12.117"
    assert any("the guest runs the host's kernel release" in each.text for each in result.assumptions)
    assert archcaps.check(host, default_guest(host, "6.1.192")).guest_kernel == "6.1.192"


def test_the_thread_s_host_tells_its_default_guest_the_truth() -> None:
    host = archcaps.read_snapshot(EXAMPLES / "thread" / "host.toml")
    result = archcaps.check(host, default_guest(host))
    assert result.exit_code == 0
    assert result.disable_fb_clear is False
