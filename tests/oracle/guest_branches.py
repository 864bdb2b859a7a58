"""The oracle's guest kernel: how it mitigates Spectre v2, Retbleed and ITS, step by step as bugs.c takes them.

Three forms: one pass before 6.16; all is selected and then updated in 6.16; from 6.17 on with attack vectors. Written
from readings of the *_select_mitigation and *_update_mitigation functions, apart from src/archcaps.
"""

from __future__ import annotations

from tests.oracle.guest_worlds import World

__all__ = ["Branches"]

_EIBRS = ("eIBRS", "eIBRS+LFENCE", "eIBRS+retpoline")
_RETPOLINE = ("retpoline", "eIBRS+retpoline")
_LFENCE = ("LFENCE", "eIBRS+LFENCE")


class Branches:
    """What the kernel of a world chose."""

    def __init__(self, world: World, features: set[str], bugs: set[str]) -> None:
        self.world = world
        self.features = features
        self.bugs = set(bugs)
        self._shows, self._has = world.shows, world.has
        self.intel = world.shows("vendor_intel")
        self.amd = world.shows("vendor_amd") or world.shows("vendor_hygon")
        self.vectors = world.has("attack_vectors")
        self.later = world.has("selects_then_applies")
        #: mitigations=off, where it stands above all options
        self.off = world.has("mitigations_off") and not self.vectors
        self.smt_possible = world.shows("smt_supported") and not world.has("nosmt_force")
        self.switched_off = self.off or world.has("spectre_v2_off")
        asked = world.has("spectre_v2_on") or self._mode_by_option() is not None
        left = "spectre_v2" not in self.bugs and (world.has("asks_spectre_v2_first") or not asked)
        self.spectre_v2_off = self.switched_off or left
        self.spectre_v2_on = world.has("spectre_v2_on") and not self.spectre_v2_off
        if self.later:
            self._select_then_update()
        else:
            self._one_pass()

    def _guards_kernel(self) -> bool:
        return not self.vectors or self._has("vector_user_kernel") or self._has("vector_guest_host")

    # --- Spectre v2 ---

    def _mode_by_option(self) -> str | None:
        """The mode that spectre_v2= names, or None: it names none, or one that does not go here."""
        has, built = self._has, self._has("built_retpoline")
        newer = has("names_eibrs_modes")
        if has("spectre_v2_retpoline") and built:
            return "LFENCE" if self.amd and not newer else "retpoline"
        if has("spectre_v2_retpoline_generic") and built:
            return "retpoline"
        if has("spectre_v2_retpoline_lfence") and built and (newer or self.amd):
            return "LFENCE"
        if "IBRS_ENHANCED" in self.features:
            if has("spectre_v2_eibrs"):
                return "eIBRS"
            if has("spectre_v2_eibrs_lfence") and built:
                return "eIBRS+LFENCE"
            if has("spectre_v2_eibrs_retpoline") and built:
                return "eIBRS+retpoline"
        if has("spectre_v2_ibrs") and self._ibrs_goes() and not has("xen_pv"):
            return "IBRS"
        return None

    def _ibrs_goes(self) -> bool:
        """Intel, with IBRS, and built to write it at entry; 5.4 has no item to leave that out."""
        built = self._has("built_ibrs_entry") or not self._has("mitigates_retbleed_on_amd")
        return built and self.intel and "IBRS" in self.features

    def _retpolines(self) -> str:
        if not self._has("built_retpoline"):
            return "none"
        return "LFENCE" if self.amd and not self._has("names_eibrs_modes") else "retpoline"

    # --- before 6.16 ---

    def _one_pass(self) -> None:
        has = self._has
        if self.spectre_v2_off:
            self.mode = "none"
        elif named := self._mode_by_option():
            self.mode = named
        elif "IBRS_ENHANCED" in self.features:
            self.mode = "eIBRS"
        else:
            wanted = "retbleed" in self.bugs and not has("retbleed_off") and not has("retbleed_stuff")
            self.mode = "IBRS" if wanted and self._ibrs_goes() else self._retpolines()
        self.at_vm_exit_stopped = False
        self.retbleed = "none"
        self.retbleed_takes_smt = False
        if "retbleed" in self.bugs and not self.off:
            self._retbleed_at_once()
        self.its = self._its_at_once()

    def _retbleed_at_once(self) -> None:
        has = self._has
        left_to_linux = False
        if has("retbleed_off"):
            return
        stuff = has("retbleed_stuff") and has("built_call_depth_tracking") and self.mode == "retpoline"
        if has("retbleed_unret") and has("built_unret_entry"):
            self.retbleed = "untrained return thunk"
        elif has("retbleed_ibpb") and "IBPB" in self.features and has("built_ibpb_entry"):
            self.retbleed = "IBPB"
        elif stuff:
            self.retbleed = "Stuffing"
        else:
            left_to_linux = True
        if left_to_linux and has("mitigates_retbleed_on_amd") and self.amd:
            self.retbleed = self._retbleed_on_amd()
        if self.retbleed in ("untrained return thunk", "IBPB"):
            self.retbleed_takes_smt = self._asks_nosmt()
        if self.retbleed == "IBPB":
            self.at_vm_exit_stopped = has("retbleed_ibpb_stops_rsb_filling")
        if self.intel:
            if self.mode == "IBRS":
                self.retbleed = "IBRS"
            elif self.mode in _EIBRS:
                self.retbleed = "Enhanced IBRS"
            elif self.retbleed != "Stuffing" and has("resets_retbleed_on_intel"):
                self.retbleed = "none"

    def _retbleed_on_amd(self) -> str:
        if self._has("built_unret_entry"):
            return "untrained return thunk"
        return "IBPB" if self._has("built_ibpb_entry") and "IBPB" in self.features else "none"

    def _asks_nosmt(self) -> bool:
        return "STIBP" not in self.features and (self._has("retbleed_nosmt") or self._has("mitigations_nosmt"))

    def _its_at_once(self) -> str:
        has = self._has
        if "its" not in self.bugs or self.off:
            return "off"
        retpolines = self.mode in _RETPOLINE
        if has("knows_its_stuff") and retpolines and self.retbleed == "Stuffing":
            return "stuffing"
        if has("its_off") or self.mode == "none" or self.mode in _LFENCE or not self._its_is_built():
            return "off"
        if has("its_stuff") and retpolines and has("built_call_depth_tracking"):
            if self.retbleed == "none":
                self.retbleed = "Stuffing"
            return "stuffing"
        return "VM exit" if has("its_vmexit") and "its_native_only" in self.bugs else "thunks"

    def _its_is_built(self) -> bool:
        has = self._has
        return has("built_retpoline") and has("built_rethunk") and not has("built_aligned_functions")

    # --- from 6.16 on ---

    def _select_then_update(self) -> None:
        has = self._has
        self._select_retbleed()
        self._select_its()
        named = None if self.spectre_v2_off else self._mode_by_option()
        guarded = self._guards_kernel() or self.spectre_v2_on
        if self.spectre_v2_off:
            self.mode = "none"
        elif named:
            self.mode = named
        elif not guarded:
            self.mode = "none"
        else:
            self.mode = "eIBRS" if "IBRS_ENHANCED" in self.features else self._retpolines()
        # the update for Retbleed, where no option chose a mode
        unasked = "spectre_v2" not in self.bugs and not has("asks_spectre_v2_first") and not self.switched_off
        by_itself = not named and not self.spectre_v2_on and self.mode != "eIBRS"
        by_itself = by_itself and (unasked or not self.spectre_v2_off)
        wanted = "retbleed" in self.bugs and self.retbleed not in ("none", "Stuffing")
        if by_itself and wanted and self._ibrs_goes() and not has("retbleed_off"):
            self.mode = "IBRS"
        self._update_retbleed()
        self._update_its()
        mitigated = self.retbleed in ("untrained return thunk", "IBPB")
        self.retbleed_takes_smt = mitigated and self._asks_nosmt()
        self.at_vm_exit_stopped = self.retbleed == "IBPB" and has("retbleed_ibpb_stops_rsb_filling")

    def _select_retbleed(self) -> None:
        has = self._has
        self.retbleed = "none"
        if "retbleed" not in self.bugs or self.off or has("retbleed_off"):
            return
        if has("retbleed_unret") and has("built_unret_entry"):
            self.retbleed = "untrained return thunk"
        elif has("retbleed_ibpb") and "IBPB" in self.features and has("built_ibpb_entry"):
            self.retbleed = "IBPB"
        elif has("retbleed_stuff") and has("built_call_depth_tracking") and self.intel:
            self.retbleed = "Stuffing"
        elif not self._guards_kernel():
            pass
        elif self.amd:
            self.retbleed = self._retbleed_on_amd()
        elif self.intel and "IBRS_ENHANCED" in self.features:
            self.retbleed = "Enhanced IBRS"
        elif self.intel and "IBRS" in self.features:
            self.retbleed = "IBRS"
        elif not self.intel:
            self.retbleed = "AUTO"  # what no vendor's branch turns into a choice

    def _select_its(self) -> None:
        has = self._has
        self.its = "off"
        if "its" not in self.bugs or self.off or has("its_off"):
            return
        asked = has("its_on") or has("its_vmexit") or has("its_stuff")
        if not asked and not self._guards_kernel():
            return
        if not self._its_is_built():
            return
        self.its = "thunks"
        if has("its_stuff") and has("built_call_depth_tracking"):
            self.its = "stuffing"
        elif has("its_vmexit") and "its_native_only" in self.bugs:
            self.its = "VM exit"

    def _update_retbleed(self) -> None:
        has = self._has
        if "retbleed" not in self.bugs or self.off:
            return
        if self.its == "stuffing":
            self.retbleed = "Stuffing"
        if self.vectors and self._srso_selects_ibpb():
            self.retbleed = "IBPB"
        if self.retbleed == "Stuffing" and not self._cdt_possible():
            self.retbleed = "none"
        if self.intel:
            if self.mode == "IBRS":
                self.retbleed = "IBRS"
            elif self.mode in _EIBRS:
                self.retbleed = "Enhanced IBRS"
            elif self.retbleed != "Stuffing" and has("resets_retbleed_on_intel"):
                self.retbleed = "none"

    def _cdt_possible(self) -> bool:
        return self.mode in _RETPOLINE and self._has("built_call_depth_tracking") and self._has("built_retpoline")

    def _update_its(self) -> None:
        if "its" not in self.bugs or self.off:
            return
        if self.mode == "none" or self.mode in _LFENCE:
            self.its = "off"
        elif self.mode in _RETPOLINE and self.retbleed == "Stuffing" and self._has("knows_its_stuff"):
            self.its = "stuffing"
        possible = self._cdt_possible() and (self.vectors or self.retbleed == "Stuffing")
        if self.its == "stuffing" and not possible:
            self.its = "thunks"

    def ibrs_spares_stibp(self) -> bool:
        """Whether IBRS guards user tasks too."""
        if self._has("uses_auto_ibrs") and self._shows("auto_ibrs"):
            return False
        return self.mode in _EIBRS or (self.mode == "IBRS" and self._has("no_stibp_with_legacy_ibrs"))

    # --- SRSO ---

    def srso_is_no_more(self) -> bool:
        """Zen 1 and Zen 2 without SMT."""
        return not self._shows("family_from_0x19") and not self.smt_possible

    def _srso_selects_ibpb(self) -> bool:
        has = self._has
        able = "IBPB_BRTYPE" in self.features and has("built_ibpb_entry") and not self.srso_is_no_more()
        return "srso" in self.bugs and has("srso_ibpb") and able
