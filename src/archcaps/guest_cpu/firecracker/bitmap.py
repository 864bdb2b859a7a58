"""Firecracker's bitmaps: a bit each of a register, the highest first: 0 clears it, 1 sets it, x keeps KVM's.

Source: firecracker@81b38b9 src/vmm/src/cpu_config/templates.rs RegisterValueFilter; docs/cpu_templates/schema.json
"""

from __future__ import annotations

from typing import Final

from archcaps.errors import InputError

__all__ = ["change_bitmap", "read_bitmap", "write_bitmap"]

_LONGEST: Final = 400  # 64 bits with any separators that somebody may write


def read_bitmap(text: str, width: int, where: str) -> tuple[int, int]:
    """Return the bits that a bitmap fixes as a mask, and what to, both as unsigned numbers of `width` bits.

    As in Firecracker ``0b`` may be left out, ``_`` stands anywhere, and a short one keeps the upper bits.

    Raises:
        InputError: it has more than `width` bits or another character than 0, 1, x and _.
    """
    bits = text.removeprefix("0b")
    if len(bits) > _LONGEST:
        raise InputError(f"a bitmap of {len(bits)} characters (expected at most {width} of 0, 1 and x)", where)
    wrong = [character for character in bits if character not in "01x_"]
    if wrong:
        raise InputError(
            f"bitmap {text[:80]!r} has {wrong[0]!r} (expected 0b and then 0, 1, x, and _ between them)", where
        )
    bits = bits.replace("_", "")
    if len(bits) > width:
        raise InputError(f"bitmap {text[:80]!r} has {len(bits)} bits (expected at most {width})", where)
    mask = sum(1 << index for index, bit in enumerate(reversed(bits)) if bit != "x")
    value = sum(1 << index for index, bit in enumerate(reversed(bits)) if bit == "1")
    return mask, value


def write_bitmap(mask: int, value: int, width: int) -> str:
    """Return the bitmap that fixes the bits of `mask` to those of `value`."""
    bits = ("x" if not mask >> index & 1 else "1" if value >> index & 1 else "0" for index in reversed(range(width)))
    return "0b" + "".join(bits)


def change_bitmap(text: str, bits: dict[int, bool], width: int) -> str:
    """Return a bitmap that reads well with some bits fixed again, its separators and its other bits as they were."""
    head = "0b" if text.startswith("0b") else ""
    body = text.removeprefix("0b")
    body = "x" * (max(bits, default=-1) + 1 - len(body.replace("_", ""))) + body
    left = len(body.replace("_", ""))
    found = []
    for character in body:
        left -= character != "_"
        found.append(f"{bits[left]:d}" if character != "_" and left in bits else character)
    assert left == 0
    assert max(bits, default=0) < width
    return head + "".join(found)
