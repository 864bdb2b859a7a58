"""The oracle's answers to accesses of MSRs 0x10a, 0x10b and 0x122, as do_set_msr, kvm_set_msr_common and vmx.c do them.

Written from readings of 5.10 to 7.1, apart from src/archcaps.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.oracle.pair_kvm import Host

__all__ = ["answers_of"]


def answers_of(host: Host, access: frozenset[str]) -> Mapping[str, bool]:
    """Return each question about an access with its answer, by the rules' names."""
    has = host.world.has
    ignores = has("ignore_msrs")
    found: dict[str, bool] = {}

    # MSR 0x10a
    there = "cpuid_arch_capabilities" in access or not has("arch_cap_needs_cpuid")
    covered = ignores and has("ignore_msrs_covers_arch_cap")
    late = has("feature_msrs_immutable") and "has_run" in access and "value_is_the_same" not in access
    found["arch_cap_unsupported"] = not there
    found["feature_msr_frozen"] = late
    found["host_writes_arch_cap"] = not late and (there or covered or "value_is_zero" in access)
    found["host_write_is_stored"] = not late and there
    found["guest_reads_arch_cap"] = "cpuid_arch_capabilities" in access
    found["guest_read_of_arch_cap_faults"] = "cpuid_arch_capabilities" not in access and not covered
    found["guest_write_of_arch_cap_faults"] = not covered
    found["starts_with_offer"] = "quirk_stuff_feature_msrs" in access or not has("stuff_feature_msrs_quirk")
    found["unsupported_msr_faults"] = not ignores

    # MSR 0x10b
    fits = "value_fits" in access
    flush = host.world.shows("flush_l1d")
    if has("offers_flush_l1d"):
        found["host_writes_flush_cmd"] = flush and fits
        found["guest_flush_cmd_faults"] = not (flush and fits and "cpuid_flush_l1d" in access)
    else:
        found["host_writes_flush_cmd"] = ignores
        found["guest_flush_cmd_faults"] = not ignores

    # MSR 0x122
    keeps = not host.svm and host.world.shows("tsx_ctrl") and not has("hides_tsx_ctrl")
    found["keeps_tsx_ctrl"] = keeps
    found["saves_tsx_ctrl"] = has("tsx_ctrl_in_save_list") and host.offers("tsx_ctrl")
    if host.svm:
        found["host_writes_tsx_ctrl"] = ignores
        found["guest_tsx_ctrl_faults"] = not ignores
    else:
        found["host_writes_tsx_ctrl"] = fits and (keeps or ignores)
        found["guest_tsx_ctrl_faults"] = not (fits and "holds_tsx_ctrl" in access and (keeps or ignores))
    found["set_cpuid_writes_tsx_ctrl"] = keeps and host.buffers.rtm

    again = not has("snapshots_host_arch_cap")
    found["host_arch_cap_read_anew"] = again
    found["fb_clear_ctrl_read_anew"] = again and has("toggles_fb_clear") and not has("fb_clear_control_at_load")
    return found
