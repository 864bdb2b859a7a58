"""The oracle's guest kernel: the features that it makes of CPUID's bits, and the bugs it finds.

Written from readings of cpu_set_bug_bits, init_speculation_control, early_init_amd and tsa_init, apart from
src/archcaps.
"""

from __future__ import annotations

from tests.oracle.guest_worlds import World

__all__ = ["bugs_of", "features_of", "spoilt_by_microcode", "tsa_bits_set_by_kernel"]


def features_of(world: World) -> set[str]:
    """Return the feature flags that mitigations look at, by the kernel's names for them."""
    shows, has = world.shows, world.has
    found = set()
    bare = not shows("hypervisor")
    amd = shows("vendor_amd")
    if not spoilt_by_microcode(world):
        if shows("spec_ctrl"):
            found |= {"IBRS", "IBPB"}
        if shows("amd_ibrs"):
            found.add("IBRS")
        if shows("amd_ibpb"):
            found.add("IBPB")
        if shows("intel_stibp") or shows("amd_stibp"):
            found.add("STIBP")
        if shows("ssbd") or shows("virt_ssbd") or shows("amd_ssbd"):
            found.add("SSBD")
    # apply_forced_caps: what clearcpuid= takes away goes, but not what the kernel forces afterwards
    found -= {flag for flag in ("IBRS", "IBPB", "STIBP", "SSBD") if has(f"{flag.lower()}_cleared")}
    ls_cfg = shows("vendor_hygon") or (amd and shows("family_0x15_to_0x17"))
    if ls_cfg and not shows("virt_ssbd") and not shows("amd_ssbd") and shows("ls_cfg_readable"):
        found.add("SSBD")
    probed = amd and shows("family_from_0x19") and bare and shows("sev_snp")
    snp_host = has("spares_snp_host_auto_ibrs") and probed and shows("snp_host")
    enhanced = shows("ibrs_all") or (has("uses_auto_ibrs") and shows("auto_ibrs") and not snp_host)
    if enhanced and not shows("listed_no_speculation"):  # set behind the return for parts that do not speculate
        found.add("IBRS_ENHANCED")
    return found | _srso_microcode(world) | _tsa(world)


def _srso_microcode(world: World) -> set[str]:
    """What CPUID shows or early_init_amd finds by trying, where it does."""
    shows = world.shows
    if shows("ibpb_brtype"):
        return {"IBPB_BRTYPE"}
    if not world.has("probes_ibpb_brtype") or not shows("vendor_amd") or shows("hypervisor"):
        return set()
    found = shows("family_0x17") and shows("amd_ibpb")
    if shows("family_from_0x19") and shows("sbpb_write_succeeds"):
        found = True
    return {"IBPB_BRTYPE"} if found else set()


def spoilt_by_microcode(world: World) -> bool:
    """Whether speculation control is taken back, as early_init_intel does."""
    shows = world.shows
    shown = any(map(shows, ("spec_ctrl", "intel_stibp", "amd_ibrs", "amd_ibpb", "amd_stibp")))
    return shown and shows("vendor_intel") and not shows("hypervisor") and shows("bad_spectre_microcode")


def tsa_bits_set_by_kernel(world: World) -> set[str]:
    """Return the bits that tsa_init sets by itself on bare metal."""
    shows, has = world.shows, world.has
    if not has("has_tsa") or not shows("vendor_amd") or shows("hypervisor"):
        return set()
    found = set()
    third = has("asks_tsa_fill_no")
    if shows("family_0x19"):
        if has("tests_tsa_microcode") and shows("tsa_microcode"):
            found.add("VERW_CLEAR")
    elif third and shows("family_0x1a"):
        if has("knows_zen6") and shows("zen6_part"):
            found |= {"tsa_sq_no", "tsa_l1_no", "tsa_fill_no"}
    elif not shows("unknown_zen_model"):
        found |= {"tsa_sq_no", "tsa_l1_no"}
    if third and not shows("family_0x1a") and not shows("unknown_zen_model"):
        found.add("tsa_fill_no")
    return found


def _tsa(world: World) -> set[str]:
    shows, has = world.shows, world.has
    found = tsa_bits_set_by_kernel(world)
    if has("reads_tsa_no"):
        found |= {name for name in ("tsa_sq_no", "tsa_l1_no") if shows(name)}
    if shows("tsa_fill_no"):
        found.add("tsa_fill_no")
    if has("has_tsa") and has("reads_verw_clear") and shows("verw_clear"):
        found.add("VERW_CLEAR")
    return found


def bugs_of(world: World, features: set[str]) -> set[str]:
    """Return the bugs, by the names that /proc/cpuinfo has for them: found, or set by an option."""
    return _found(world, features) | _forced(world)


def _forced(world: World) -> set[str]:
    """What the parsers of retbleed=, indirect_target_selection=, vmscape= and spectre_v2= set."""
    has = world.has
    found = {bug for bug in ("retbleed", "its", "vmscape") if has(f"has_{bug}") and has(f"{bug}_forced")}
    if has("spectre_v2_forced"):
        found.add("spectre_v2")
        if has("has_spectre_v2_user"):
            found.add("spectre_v2_user")
    return found


def _found(world: World, features: set[str]) -> set[str]:
    shows, has = world.shows, world.has
    found = _errata(world)
    if has("has_old_microcode") and not shows("hypervisor") and shows("old_microcode"):
        found.add("old_microcode")
    if not shows("listed_no_itlb_multihit") and not shows("pschange_mc_no"):
        found.add("itlb_multihit")
    tsa_no = {"tsa_sq_no", "tsa_l1_no"} | ({"tsa_fill_no"} if has("asks_tsa_fill_no") else set())
    if has("has_tsa") and shows("vendor_amd") and shows("listed_tsa") and not tsa_no <= features:
        found.add("tsa")  # parts that do not speculate are Intel's and others', never AMD's
    if shows("listed_no_speculation"):
        return found
    found.add("spectre_v1")
    if not shows("listed_no_spectre_v2"):
        found.add("spectre_v2")
        if has("has_spectre_v2_user"):
            found.add("spectre_v2_user")
    if not shows("listed_no_ssb") and not shows("ssb_no") and not shows("amd_ssb_no"):
        found.add("spec_store_bypass")
    if not shows("listed_no_swapgs"):
        found.add("swapgs")
    enhanced = "IBRS_ENHANCED" in features
    if has("has_eibrs_pbrsb") and enhanced and not shows("listed_no_eibrs_pbrsb") and not shows("pbrsb_no"):
        found.add("eibrs_pbrsb")
    if not shows("listed_no_meltdown") and not shows("rdcl_no"):
        found.add("cpu_meltdown")
        if not shows("listed_no_l1tf"):
            found.add("l1tf")
    spared = shows("listed_no_bhi") or (has("bhi_no_counts") and shows("bhi_no"))
    if has("has_bhi") and not spared and (enhanced or shows("hypervisor")):
        found.add("bhi")
    return found | _sampling(world) | _by_black_list(world)


def _sampling(world: World) -> set[str]:
    shows, has = world.shows, world.has
    found = set()
    if not shows("listed_no_mds") and not shows("mds_no"):
        found.add("mds")
        if shows("listed_msbds_only"):
            found.add("msbds_only")
    if not shows("taa_no") and (shows("rtm") or shows("tsx_ctrl")):
        found.add("taa")
    immune = shows("fbsdp_no") and shows("psdp_no") and shows("sbdr_ssdp_no")
    if not immune:
        if shows("listed_mmio"):
            if has("has_mmio_stale_data"):
                found.add("mmio_stale_data")
        elif has("has_mmio_unknown") and not shows("listed_no_mmio"):
            found.add("mmio_unknown")
    if has("has_rfds") and not shows("rfds_no") and (shows("listed_rfds") or shows("rfds_clear")):
        found.add("rfds")
    if has("has_gds") and shows("listed_gds") and not shows("gds_no") and shows("avx"):
        found.add("gds")
    random_numbers = shows("rdrand") or shows("rdseed")
    if has("has_srbds") and random_numbers and (shows("listed_srbds") or shows("listed_mmio_sbds")):
        found.add("srbds")
    return found


def _by_black_list(world: World) -> set[str]:
    shows, has = world.shows, world.has
    found = set()
    if has("has_retbleed") and not shows("btc_no") and (shows("listed_retbleed") or shows("rsba")):
        found.add("retbleed")
    if has("has_smt_rsb") and shows("listed_smt_rsb"):
        found.add("smt_rsb")
    if has("has_srso") and shows("listed_srso") and not shows("srso_no"):
        found.add("srso")
    if has("has_ibpb_no_ret") and shows("amd_ibpb") and not shows("amd_ibpb_ret"):
        found.add("ibpb_no_ret")
    ruled_out = not shows("vendor_intel") or shows("its_no") or shows("bhi_ctrl")
    if has("has_its") and not ruled_out and (shows("hypervisor") or shows("listed_its")):
        found.add("its")
        if shows("listed_its_native_only"):
            found.add("its_native_only")
    if has("has_vmscape") and shows("listed_vmscape") and not shows("hypervisor"):
        found.add("vmscape")
    return found


def _errata(world: World) -> set[str]:
    """What init_amd, init_hygon, init_intel and check_null_seg_clears_base find."""
    shows, has = world.shows, world.has
    amd, hygon, intel, bare = (
        shows("vendor_amd"), shows("vendor_hygon"), shows("vendor_intel"), not shows("hypervisor"),
    )  # fmt: skip
    osvw = has("erratum_400_asks_osvw") and shows("osvw")
    found = {
        "sysret_ss_attrs": (amd or hygon) and not has("xen_pv"),
        "fxsave_leak": amd and not shows("xsaveerptr"),
        "swapgs_fence": amd and shows("family_0x0f"),
        "tlb_mmatch": amd and shows("family_0x10") and (not osvw or shows("osvw_erratum_383")),
        "amd_e400": amd and shows("osvw_erratum_400" if osvw else "erratum_400_part"),
        "div0": has("has_div0") and amd and shows("zen1_part"),
        "clflush_monitor": intel and shows("clflush_monitor_part"),
        "monitor": intel and shows("monitor") and shows("goldmont_part"),
        "tdx_pw_mce": has("has_tdx_pw_mce") and intel and bare and shows("tdx_erratum_part") and shows("tdx_host"),
    }
    if has("monitor_bug_on_lunar_lake") and intel and shows("monitor") and shows("lunar_lake_part"):
        found["monitor"] = True
    if not has("null_seg_by_cpuid"):
        found["null_seg"] = not shows("null_clears_base")
    elif (amd or hygon) and not shows("null_sel_clr_base"):
        # only bare metal is tried, of AMD only family 0x17
        tried = bare and (hygon or shows("family_0x17"))
        found["null_seg"] = not (tried and shows("null_clears_base"))
    return {name for name, there in found.items() if there}
