"""What KVM offers, against the kernel's functions read for each release."""

from __future__ import annotations

from archcaps.rules.kvm_offer import Kvm, gds_mitigated
from archcaps.rules.views import Cpu, Kernel
from tests.rules.facts import holds

KVM = Kvm(Cpu("host"), Kernel("host_kernel"))
MICROCODE = ("host.arch_capabilities", "host.gds_ctrl")


def test_gds_is_mitigated_by_microcode_unless_it_is_off_and_not_locked() -> None:
    node = gds_mitigated(KVM)
    assert holds(node, *MICROCODE)
    assert not holds(node)
    assert not holds(node, *MICROCODE, "host_kernel.gds_off")
    assert holds(node, *MICROCODE, "host_kernel.gds_off", "host.gds_mitg_locked")


def test_a_host_under_a_hypervisor_does_not_mitigate_gds_itself() -> None:
    """Its state is HYPERVISOR, whatever GDS_CTRL it is shown: KVM in it does not offer GDS_NO for that."""
    assert not holds(gds_mitigated(KVM), *MICROCODE, "host.hypervisor")
    assert not holds(gds_mitigated(KVM), *MICROCODE, "host.hypervisor", "host.gds_mitg_locked")
