"""Look-ups that a CPU's identity alone decides: its vendor, families, and the parts that single rules name."""

from __future__ import annotations

from collections.abc import Container
from functools import cache
from typing import Final

from archcaps.tables.linux_lists import Part

__all__ = ["first_models", "first_steppings", "identity_lookups"]

_VENDORS: Final = {
    "vendor_intel": "GenuineIntel",
    "vendor_amd": "AuthenticAMD",
    "vendor_hygon": "HygonGenuine",
}
_FAMILIES: Final[dict[str, Container[int]]] = {
    "family_0x0f": (0x0F,),
    "family_0x10": (0x10,),
    "family_0x17": (0x17,),
    "family_0x19": (0x19,),
    "family_0x1a": (0x1A,),
    "family_0x15_to_0x17": range(0x15, 0x18),
    "family_from_0x19": range(0x19, 0x1000),
}
#: Families and, of family 6, models of Intel from before Nehalem, and the first two generations of Atom.
#: Source: Linux arch/x86/include/asm/intel-family.h of d482bb509b7d; for family 6 up to 0x0d the recorded machines
_BEFORE_CONTROLS: Final = (0x04, 0x05, 0x0F)
_BEFORE_CONTROLS_MODELS: Final = (
    0x01, 0x03, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0D, 0x0E, 0x0F, 0x15, 0x16, 0x17, 0x1C, 0x1D, 0x26, 0x27,
    0x35, 0x36,
)  # fmt: skip
#: Models of Intel's family 6 with Atom cores, alone or beside others, even where those are switched off.
#: Source: Linux arch/x86/include/asm/intel-family.h of d482bb509b7d, "Small Core" and "Hybrid"; of Silvermont and
#: Airmont also 0x5d, 0x65 and 0x6e: Xen c447b7308b13 arch/x86/spec_ctrl.c mds_calculations, "Middling Atom processors"
_ATOM: Final = (
    0x1C, 0x26, 0x27, 0x35, 0x36, 0x37, 0x4A, 0x4C, 0x4D, 0x5A, 0x5C, 0x5D, 0x5F, 0x65, 0x6E, 0x75, 0x7A, 0x86, 0x8A,
    0x96, 0x97, 0x9A, 0x9C, 0xAA, 0xAC, 0xAF, 0xB5, 0xB6, 0xB7, 0xBA, 0xBD, 0xBE, 0xBF, 0xC5, 0xC6, 0xCC, 0xD5, 0xDD,
    0xE5,
)  # fmt: skip
#: Models of Intel's family 6 of which every published stepping is immune to MDS and every recorded machine says so.
#: Ice Lake is none of them: a recorded sample of 0x6a, of stepping 0, does not say it. Goldmont does not say it either.
#: Source: intel/Intel-affected-processor-list@71c2859 (silicon/intel_affected.csv)
_MDS_FIXED: Final = (
    0x86, 0x8C, 0x8D, 0x8F, 0x96, 0x97, 0x9A, 0x9C, 0xA5, 0xA6, 0xA7, 0xAA, 0xAD, 0xAE, 0xAF, 0xB5, 0xB6, 0xB7, 0xBA,
    0xBD, 0xBE, 0xBF, 0xC5, 0xC6, 0xCC, 0xCF,
)  # fmt: skip
#: Models of Intel's family 6. Source: Linux 7.1.5 arch/x86/kernel/cpu/intel.c init_intel; virt/vmx/tdx/tdx.c
_INTEL_MODELS: Final[dict[str, tuple[int, ...]]] = {
    "clflush_monitor_part": (0x1D, 0x2E, 0x2F),
    "goldmont_part": (0x5C,),
    "lunar_lake_part": (0xBD,),
    "tdx_erratum_part": (0x8F, 0xCF),
    "family_0x06_atom": _ATOM,
    "family_0x06_mds_fixed": _MDS_FIXED,
}
#: From which model and stepping on a family has erratum 400. Source: Linux 6.12.117 arch/x86/kernel/cpu/amd.c
_ERRATUM_400: Final = {0x0F: (0x41, 2), 0x10: (2, 1)}
#: Zen 1 and 2 models of family 0x17. Source: Linux 6.12.117 arch/x86/kernel/cpu/amd.c bsp_init_amd
_ZEN_1_AND_2: Final = (range(0x00, 0x80), range(0x90, 0x92), range(0xA0, 0xB0))
#: Zen 5 models of family 0x1a on which every kernel read agrees. Source: Linux 6.12.117, 6.18.9, 7.1.5, the same place
_ZEN_5: Final = (range(0x00, 0x30), range(0x40, 0x50), range(0x60, 0x80))
#: Zen 6 models of family 0x1a. Source: Debian Linux 6.12.118, 7.3.4 amd.c: what they record on each of 256 models
_ZEN_6: Final = (range(0x50, 0x60), range(0x80, 0xB0), range(0xC0, 0xD0), range(0xD8, 0xF0))
#: Zen 1 alone. Source: Linux 5.10.265 arch/x86/kernel/cpu/amd.c amd_div0; 7.1.5 bsp_init_amd
_ZEN_1: Final = (range(0x00, 0x30), range(0x50, 0x60))


@cache
def identity_lookups(part: Part) -> dict[str, bool | None]:
    """Return the look-ups of `archcaps.tables.names.CPU_LOOKUPS` that follow from vendor, family, model, stepping."""
    vendor, family, model = part.vendor, part.family, part.model
    found: dict[str, bool | None] = {
        name: None if vendor is None else vendor == string for name, string in _VENDORS.items()
    }
    for name, families in _FAMILIES.items():
        found[name] = None if family is None else family in families
    for name, models in _INTEL_MODELS.items():
        found[name] = _all(_in(family, (6,)), _in(model, models))
    found["family_before_controls"] = _before_controls(family, model)
    found["zen1_part"] = _all(_in(family, (0x17,)), _in(model, [number for models in _ZEN_1 for number in models]))
    found["zen6_part"] = _all(_in(family, (0x1A,)), _in(model, [number for models in _ZEN_6 for number in models]))
    found["erratum_400_part"] = _erratum_400(part)
    found["unknown_zen_model"] = _unknown_zen_model(family, model)
    found["null_clears_base"] = True if vendor == "GenuineIntel" else None
    found["tdx_host"] = None
    found["osvw_erratum_383"] = found["osvw_erratum_400"] = None
    return found


def first_models(family: int) -> frozenset[int]:
    """Return the models of a family at which an answer of `identity_lookups` may change.

    Where the stepping decides too (`first_steppings`) a model stands alone.
    """
    ends = {0}
    ranges = {6: (), 0x17: (*_ZEN_1_AND_2, *_ZEN_1), 0x1A: (*_ZEN_5, *_ZEN_6), 0x19: (range(0xB0, 0x100),)}
    for models in ranges.get(family, ()):
        ends |= {models.start, models.stop}
    if family == 6:
        alone = (*_INTEL_MODELS.values(), _BEFORE_CONTROLS_MODELS)
        ends |= {model + after for models in alone for model in models for after in (0, 1)}
    if family in _ERRATUM_400:
        ends |= {_ERRATUM_400[family][0], _ERRATUM_400[family][0] + 1}
    return frozenset(ends)


def first_steppings(family: int, model: int) -> frozenset[int]:
    """Return the steppings of a model at which an answer of `identity_lookups` may change: that on erratum 400."""
    first, stepping = _ERRATUM_400.get(family, (None, 0))
    return frozenset((0, stepping)) if model == first else frozenset((0,))


def _in(number: int | None, numbers: Container[int]) -> bool | None:
    return None if number is None else number in numbers


def _all(*tests: bool | None) -> bool | None:
    """Return the conjunction of `tests` in Kleene's logic."""
    return False if False in tests else None if None in tests else True


def _before_controls(family: int | None, model: int | None) -> bool | None:
    return _in(model, _BEFORE_CONTROLS_MODELS) if family == 6 else _in(family, _BEFORE_CONTROLS)


def _erratum_400(part: Part) -> bool | None:
    """Family 0x0f from model 0x41 stepping 2, 0x10 from model 2 stepping 1 (Linux amd.c amd_erratum_400)."""
    if part.family is None:
        return None
    if part.family not in _ERRATUM_400:
        return False
    if part.model is None:
        return None
    model, stepping = _ERRATUM_400[part.family]
    if part.model != model:
        return part.model > model
    return None if part.stepping is None else part.stepping >= stepping


def _unknown_zen_model(family: int | None, model: int | None) -> bool | None:
    if family not in (None, 0x17, 0x19, 0x1A):
        return False
    if family is None or model is None:
        return None
    match family:
        case 0x17:
            return not any(model in models for models in _ZEN_1_AND_2)
        case 0x19:
            return model >= 0xB0
        case _:
            return False if any(model in models for models in _ZEN_5) else None
