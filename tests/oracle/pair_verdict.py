"""The oracle's verdicts on the VERW family: three guests on one host, by the table of docs/architecture/verdict.md.

Written from that page, apart from src/archcaps.
"""

from __future__ import annotations

from functools import cached_property

from archcaps.tables.names import VULNERABILITIES
from tests.oracle.guest_worlds import World
from tests.oracle.pair_kvm import Host, kernel_of
from tests.oracle.pair_silicon import Silicon
from tests.oracle.pair_worlds import PairWorld

__all__ = ["Guest", "Pair", "claim_of"]

_ARCH_CAPS = (
    "mds_no", "taa_no", "psdp_no", "fbsdp_no", "sbdr_ssdp_no", "fb_clear", "fb_clear_ctrl", "tsx_ctrl", "rfds_no",
    "rfds_clear",
)  # fmt: skip
_CPUID = (
    "md_clear", "flush_l1d", "rtm", "arch_capabilities", "verw_clear", "tsa_sq_no", "tsa_l1_no", "tsa_fill_no",
    "spec_ctrl", "intel_stibp", "ssbd", "srbds_ctrl", "rtm_always_abort", "tsx_force_abort", "hybrid",
    "core_capabilities",
)  # fmt: skip
_IDENTITY = (
    "vendor_intel", "vendor_amd", "vendor_hygon", "family_0x19", "family_0x1a", "unknown_zen_model", "rtm_always_abort",
)  # fmt: skip


def claim_of(text: str | None) -> str:
    """Return what a text claims."""
    if text is None:
        return "none"
    if text == "Not affected":
        return "not-affected"
    if text == "Mitigation: TSX disabled":
        return "avoided"
    if text.startswith("Mitigation:"):
        return "mitigated"
    if text.startswith("Unknown"):
        return "says-unknown"
    return "no-microcode" if "no microcode" in text.lower() else "vulnerable"


class Guest:
    """One guest of a pair: what it is shown, and whether FB_CLEAR_DIS is set while it runs."""

    def __init__(self, pair: Pair, world: World, *, disabled: bool) -> None:
        self.world = world
        self.disabled = disabled
        self.branches, self.buffers = kernel_of(world)
        silicon = pair.silicon
        self.affected = silicon.affected(pair.host.rtm_executes(world, self.buffers))
        self.works = {
            name: silicon.verw_reaches(name, affected=self.affected[name], disabled=disabled)
            for name in VULNERABILITIES
        }
        self.runs = self.buffers.verw or self.buffers.tsa_user
        self.user_mmio = pair.user_mmio

    def claim(self, name: str) -> str:
        return claim_of(getattr(self.buffers, name)())

    def truth(self, name: str) -> str:  # a return for each row of the table
        affected, works = self.affected[name], self.works[name]
        claim = self.claim(name)
        if claim in ("none", "says-unknown"):
            return "unsaid"
        if claim == "not-affected":
            return "false-immunity" if affected else "truthful"
        if claim == "avoided":
            return "broken-promise" if affected else "truthful"
        if claim == "mitigated":
            if not works:
                return "broken-promise"
            return "truthful" if affected else "needless-work"
        if not affected or (self.runs and works):
            return "false-alarm"
        return "withheld" if claim == "no-microcode" and works else "truthful"

    def exposed(self, name: str) -> bool:
        affected = self.affected
        if not affected[name] or (self.runs and self.works[name]):
            return False
        if name != "mmio_stale_data":
            return True
        return affected["mds"] or affected["tsx_async_abort"] or self.user_mmio

    def verdict(self, name: str) -> tuple[str, bool]:
        return self.truth(name), self.exposed(name)


class Pair:
    """A host with its guest, and the two that the guest is compared with."""

    def __init__(self, world: PairWorld) -> None:
        self.world = world
        self.host = Host(world.of_host)
        published = frozenset(name for name in world.silicon if name.endswith("_published"))
        spared = {"register_file_spared"} & world.silicon
        self.silicon = Silicon(World(world.silicon, frozenset()), published | spared)
        self.user_mmio = "user_mmio" in world.assume
        guest = world.of_guest
        held = {bit: self.host.holds(guest, bit) for bit in _ARCH_CAPS}
        self.guest = Guest(self, guest, disabled=self.host.disables_fb_clear(held))

    def _any_guest(self) -> dict[str, bool]:
        host, guest = self.host.world, self.guest.world
        same = {name: host.shows(name) for name in _IDENTITY}
        return same | {name: guest.shows(name) for name in ("hypervisor", "smt_active")} | {"rtm_disable": True}

    @cached_property
    def offered(self) -> Guest:
        """The guest that is shown the host's identity and all that KVM offers."""
        given = {bit: self.host.offers(bit) for bit in _ARCH_CAPS}
        given |= {bit: self.host.offers_cpuid(bit) for bit in _CPUID} | self._any_guest()
        world = World(self.world.offered, self.world.guest_kernel, given)
        return Guest(self, world, disabled=self.host.disables_fb_clear(given))

    @cached_property
    def true(self) -> Guest:
        """The guest that is shown the truth, and whose VERW is left alone."""
        host, silicon = self.host, self.silicon
        usable = host.buffers.rtm
        affected = silicon.affected(rtm_executes=False)
        shows = World(self.world.silicon, frozenset()).shows
        immune_to_mmio = not affected["mmio_stale_data"]
        given = {
            "arch_capabilities": True,
            "rtm": usable,
            "tsx_ctrl": host.world.shows("tsx_ctrl"),
            "mds_no": not affected["mds"],
            "taa_no": not usable or shows("taa_no"),
            "fb_clear": silicon.fill_buffers(),
            "rfds_no": not affected["reg_file_data_sampling"],
            "verw_clear": silicon.verw_reaches("tsa", affected=True, disabled=False),
        }
        given |= {name: shows(name) for name in ("md_clear", "flush_l1d", "rfds_clear")}
        given |= dict.fromkeys(("sbdr_ssdp_no", "fbsdp_no", "psdp_no"), immune_to_mmio)
        given |= dict.fromkeys(("tsa_sq_no", "tsa_l1_no", "tsa_fill_no"), not affected["tsa"])
        return Guest(self, World(self.world.true, self.world.guest_kernel, given | self._any_guest()), disabled=False)

    def responsible(self, name: str) -> str:
        guest = self.guest
        if guest.truth(name) in ("truthful", "unsaid") and not guest.exposed(name):
            return "nobody"
        if guest.verdict(name) != self.offered.verdict(name):
            return "userspace"
        if self.offered.verdict(name) != self.true.verdict(name):
            return "KVM"
        return "microcode" if guest.affected[name] and not self.true.works[name] else "guest kernel"

    # --- from the guest to its host ---

    def cleared_before_entry(self, name: str) -> bool:
        host, affected = self.host, self.guest.affected[name]
        places = host.verw_on_entry(self.world.vm, self.guest.world.shows("vmx")).split()
        early = self.silicon.verw_reaches(name, affected=affected, disabled=False)
        late = self.silicon.verw_reaches(name, affected=affected, disabled=self.guest.disabled)
        if ("C" in places and early) or ("asm" in places and late) or (host.verw_before_vmrun() and early):
            return True
        every = host.flushes and host.world.has("l1d_flush_always")
        return every and self.silicon.l1d_flush_reaches(name)

    def exposes_host(self, name: str) -> bool:
        affected = self.guest.affected
        sampled = affected[name]
        if name == "mmio_stale_data":
            mapped = "has_mapped_host_mmio" in self.world.vm
            sampled = sampled and (mapped or affected["mds"] or affected["tsx_async_abort"])
        return sampled and not self.cleared_before_entry(name)

    def host_responsible(self, name: str) -> str:
        if not self.exposes_host(name):
            return "nobody"
        if not self.silicon.verw_reaches(name, affected=self.guest.affected[name], disabled=False):
            return "microcode"
        return "KVM" if self.host.means_to_clear() else "host kernel"
