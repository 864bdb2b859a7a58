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
#: Models of Intel's family 6. Source: Linux 7.1.5 arch/x86/kernel/cpu/intel.c init_intel; virt/vmx/tdx/tdx.c
_INTEL_MODELS: Final[dict[str, tuple[int, ...]]] = {
    "clflush_monitor_part": (0x1D, 0x2E, 0x2F),
    "goldmont_part": (0x5C,),
    "lunar_lake_part": (0xBD,),
    "tdx_erratum_part": (0x8F, 0xCF),
}
#: From which model and stepping on a family has erratum 400. Source: Linux 6.12.117 arch/x86/kernel/cpu/amd.c
_ERRATUM_400: Final = {0x0F: (0x41, 2), 0x10: (2, 1)}
#: Zen 1 and 2 models of family 0x17. Source: Linux 6.12.117 arch/x86/kernel/cpu/amd.c bsp_init_amd
_ZEN_1_AND_2: Final = (range(0x00, 0x80), range(0x90, 0x92), range(0xA0, 0xB0))
#: Zen 5 models of family 0x1a on which every kernel read agrees. Source: Linux 6.12.117, 6.18.9, 7.1.5, the same place
_ZEN_5: Final = (range(0x00, 0x30), range(0x40, 0x50), range(0x60, 0x80))
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
    found["zen1_part"] = _all(_in(family, (0x17,)), _in(model, [number for models in _ZEN_1 for number in models]))
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
    ranges = {6: (), 0x17: (*_ZEN_1_AND_2, *_ZEN_1), 0x1A: _ZEN_5, 0x19: (range(0xB0, 0x100),)}
    for models in ranges.get(family, ()):
        ends |= {models.start, models.stop}
    if family == 6:
        ends |= {model + after for models in _INTEL_MODELS.values() for model in models for after in (0, 1)}
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
