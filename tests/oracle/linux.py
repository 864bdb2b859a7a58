"""The oracle's host kernel: its bug flags and its VERW and L1D keys, one plain `if` after the other.

Written from readings of the kernels, apart from src/archcaps; of archcaps it takes only the rows of Linux's lists.
"""

from __future__ import annotations

from functools import cache

from packaging.version import Version

from archcaps.tables.files import read_csv
from tests.oracle.machines import Host, Profile

__all__ = ["Keys", "Linux"]

_LIST_VENDORS = {"GenuineIntel": "INTEL", "AuthenticAMD": "AMD", "HygonGenuine": "HYGON"}
_CORES = {"ATOM": 0x20, "CORE": 0x40}


@cache
def _flags(which: str, lists: str, part: tuple[str, int, int, int, int, bool]) -> frozenset[str]:
    """Return the flags of the first row that fits."""
    vendor, family, model, stepping, core_type, hybrid = part
    for row in read_csv(f"linux_lists/{which}-{lists}.csv"):
        if row["vendor"] not in ("ANY", _LIST_VENDORS[vendor]):
            continue
        if row["family"] != "ANY" and int(row["family"], 16) != family:
            continue
        if row["model_hex"] != "ANY" and int(row["model_hex"], 16) != model:
            continue
        if row["step_min"] != "ANY" and not int(row["step_min"], 16) <= stepping <= int(row["step_max"], 16):
            continue
        if row["cpu_type"] != "ANY" and not hybrid and core_type != _CORES[row["cpu_type"]]:
            continue
        return frozenset(row["flags"].split("|"))
    return frozenset()


class Linux:
    """The kernel `profile` booted on `host`."""

    def __init__(self, host: Host, profile: Profile) -> None:
        self.host = host
        self.profile = profile
        part = (host.vendor, host.family, host.model, host.stepping, host.core_type, "hybrid" in host.cpuid)
        self.white = _flags("whitelist", profile.lists, part)
        self.black = _flags("blacklist", profile.lists, part)

        #: Of AMD, Intel and Hygon.
        self.vmx = host.vendor == "GenuineIntel"

        # --- bug flags: cpu_set_bug_bits ---
        self.bugs: set[str] = set()
        if "NO_SPECULATION" not in self.white:
            self._set_bugs()

        # --- RTM as it stands after tsx_init; the TAA flag above was set before ---
        self.rtm = "rtm" in host.cpuid
        if profile.rtm_always_abort and "rtm_always_abort" in host.cpuid:
            self.rtm = False
        elif host.has("TSX_CTRL"):
            mode = host.option("tsx") or host.tsx_mode
            if mode == "auto":
                self.rtm = "TAA" not in self.bugs
            else:
                self.rtm = mode == "on"

    def _set_bugs(self) -> None:
        host, bugs = self.host, self.bugs
        if "NO_MELTDOWN" not in self.white and not host.has("RDCL_NO"):
            bugs.add("MELTDOWN")
            if "NO_L1TF" not in self.white:
                bugs.add("L1TF")
        if "NO_SSB" not in self.white and not host.has("SSB_NO") and "amd_ssb_no" not in host.cpuid:
            bugs.add("SSB")
        if "NO_MDS" not in self.white and not host.has("MDS_NO"):
            bugs.add("MDS")
        if not host.has("TAA_NO") and ("rtm" in host.cpuid or host.has("TSX_CTRL")):
            bugs.add("TAA")
        all_three = host.has("FBSDP_NO") and host.has("PSDP_NO") and host.has("SBDR_SSDP_NO")
        if "MMIO" in self.black and not all_three:
            bugs.add("MMIO")
        if "GDS" in self.black and not host.has("GDS_NO") and "avx" in host.cpuid:
            bugs.add("GDS")
        if not host.has("RFDS_NO") and (host.has("RFDS_CLEAR") or "RFDS" in self.black):
            bugs.add("RFDS")
        its_ruled_out = host.vendor != "GenuineIntel" or host.has("ITS_NO") or "bhi_ctrl" in host.cpuid
        if not its_ruled_out and ("hypervisor" in host.cpuid or "ITS" in self.black):
            bugs.add("ITS")

    def off(self, option: str) -> bool:
        """Whether an issue's mitigation is off, by its own option or by mitigations=off."""
        given = self.host.option(option)
        if given == "off":
            return True
        if self.host.option("mitigations") == "off":
            # from 6.17 on, mitigations=off is only the default of what is not given
            return not (self.profile.attack_vectors and given)
        return False

    @property
    def gds_mitigation(self) -> str:
        """The state of the GDS mitigation."""
        host = self.host
        if "GDS" not in self.bugs:
            return "NOT_AFFECTED"
        if "hypervisor" in host.cpuid:
            return "HYPERVISOR"
        if not host.has("GDS_CTRL"):
            return "NO_MICROCODE"
        if host.msr_mcu_opt_ctrl >> 5 & 1:
            return "FULL_LOCKED"
        if self.off("gather_data_sampling"):
            return "OFF"
        return "FULL"

    @property
    def l1tf_mitigation(self) -> str:
        """The kernel's choice against L1TF: ``off``, ``flush``, ``full`` or ``full,force``.

        Up to 6.14 mitigations=auto,nosmt beats l1tf= (l1tf_select_mitigation, Linux 6.12.33; not in 6.16.1).
        """
        given = self.host.option("l1tf")
        if self.host.option("mitigations") == "auto,nosmt" and Version(self.profile.version) < Version("6.16"):
            return "flush,nosmt"
        if self.off("l1tf"):
            return "off"
        return given or "flush"

    @property
    def l1tf_vmx_mitigation(self) -> str:
        """KVM's L1D flush state, as VMX's setup leaves it; AUTO where there is no VMX."""
        host = self.host
        if not self.vmx:
            return "AUTO"
        if "L1TF" not in self.bugs:
            return "NOT_REQUIRED"
        if not host.ept:
            return "EPT_DISABLED"
        if host.has("SKIP_L1DFL_VMENTRY"):
            return "NOT_REQUIRED"
        choice = self.l1tf_mitigation
        if host.vmentry_l1d_flush == "auto":
            if choice == "off":
                return "NEVER"
            return "ALWAYS" if choice.startswith("full") else "COND"
        if choice == "full,force":
            return "ALWAYS"
        return host.vmentry_l1d_flush.upper()

    @property
    def clear_cpu_buf(self) -> bool:
        """Whether the kernel runs VERW on exit to user (mds_user_clear, CLEAR_CPU_BUF); Intel's issues only."""
        if "MDS" in self.bugs and not self.off("mds"):
            return True
        taa_with_rtm = "TAA" in self.bugs and self.rtm
        if taa_with_rtm and not self.off("tsx_async_abort"):
            return True
        known = self.profile.fb_clear_dis != "none"  # the same commits
        if known and "MMIO" in self.bugs and not self.off("mmio_stale_data") and ("MDS" in self.bugs or taa_with_rtm):
            return True
        rfds = self.profile.rfds and "RFDS" in self.bugs and self.host.has("RFDS_CLEAR")
        return rfds and not self.off("reg_file_data_sampling")

    @property
    def keys(self) -> Keys:
        """The keys that the VMX entry path looks at."""
        return Keys(self)


class Keys:
    """Which of the entry path's keys are on: the L1D flush, the VERW of every entry, the VERW of MMIO stale data."""

    def __init__(self, kernel: Linux) -> None:
        self.l1d_flush = kernel.l1tf_vmx_mitigation in ("COND", "ALWAYS")
        self.l1d_conditional = kernel.l1tf_vmx_mitigation == "COND"
        self.clear_cpu_buf = kernel.clear_cpu_buf
        # MMIO_STALE_DATA is not known to kernels before FB_CLEAR_DIS was; same commits
        known = kernel.profile.fb_clear_dis != "none"
        mmio = known and "MMIO" in kernel.bugs and not kernel.off("mmio_stale_data")
        self.mmio = mmio and not kernel.clear_cpu_buf
