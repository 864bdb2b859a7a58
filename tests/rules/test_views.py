"""Views refuse names that no table has."""

from __future__ import annotations

import pytest

from archcaps.logic.graph import fact
from archcaps.rules.views import Cpu, Kernel, Silicon


@pytest.mark.parametrize("view", [Cpu("host"), Kernel("host_kernel"), Silicon()])
def test_a_misspelt_name_is_an_error(view: Cpu | Kernel) -> None:
    with pytest.raises(AttributeError, match="mds_yes"):
        _ = view.mds_yes


def test_a_bit_of_another_register_is_not_held_in_0x10a() -> None:
    with pytest.raises(AttributeError, match="md_clear"):
        Cpu("guest").stored("md_clear")


def test_arch_capabilities_count_as_zero_where_cpuid_hides_the_register() -> None:
    cpu = Cpu("guest")
    assert cpu.mds_no is (fact("guest.mds_no") & fact("guest.arch_capabilities"))
    assert cpu.stored("mds_no") is fact("guest.mds_no")
    assert cpu.md_clear is fact("guest.md_clear")
