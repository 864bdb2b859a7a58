"""The oracle's silicon: what a part is affected by, and what VERW and the L1D flush do on it, from Intel's and AMD's.

Written from the vendors' pages, apart from src/archcaps.
"""

from __future__ import annotations

from tests.oracle.guest_worlds import World

__all__ = ["Silicon"]


class Silicon:
    """The bare hardware: `published` are the vulnerabilities that lists name for the part."""

    def __init__(self, world: World, published: frozenset[str]) -> None:
        self._shows = world.shows
        self.published = published
        self.mds_no, self.md_clear = world.shows("mds_no"), world.shows("md_clear")

    def lists(self, name: str) -> bool:
        return name in self.published

    def affected(self, rtm_executes: bool) -> dict[str, bool]:
        shows = self._shows
        three = all(map(shows, ("sbdr_ssdp_no", "fbsdp_no", "psdp_no")))
        tsa = all(map(shows, ("tsa_sq_no", "tsa_l1_no", "tsa_fill_no")))
        rfds = shows("rfds_clear") or self.lists("rfds_published")
        return {
            "mds": self.lists("mds_published") and not self.mds_no,
            "tsx_async_abort": rtm_executes and not shows("taa_no"),
            "mmio_stale_data": self.lists("mmio_published") and not three,
            "reg_file_data_sampling": rfds and not shows("rfds_no"),
            "tsa": self.lists("tsa_published") and not tsa,
        }

    def fill_buffers(self) -> bool:
        shows = self._shows
        if shows("fb_clear"):
            return True
        if not self.md_clear:
            return False
        if self.mds_no:
            return shows("tsx_ctrl") and not shows("taa_no")
        return shows("flush_l1d")

    def verw_reaches(self, vulnerability: str, *, affected: bool, disabled: bool) -> bool:
        shows = self._shows
        if vulnerability == "tsa":
            return shows("verw_clear") or shows("tsa_microcode")
        if vulnerability == "reg_file_data_sampling":
            return shows("rfds_clear") and (self.lists("register_file_spared") or not disabled)
        if disabled:
            return False
        if vulnerability == "mds" and affected:
            return self.md_clear and not self.mds_no
        if vulnerability == "tsx_async_abort" and affected:
            return self.md_clear and (not self.mds_no or (shows("tsx_ctrl") and not shows("taa_no")))
        return self.fill_buffers()

    def l1d_flush_reaches(self, vulnerability: str) -> bool:
        sampled = vulnerability in ("mds", "tsx_async_abort", "mmio_stale_data")
        return sampled and self._shows("flush_l1d") and self.md_clear and not self.mds_no
