"""Text as an attacker writes it, and what is left of it where it is shown: no character that a terminal obeys."""

from __future__ import annotations

import unicodedata

#: One of each kind: ESC sequences, C0, a C1 control sequence introducer, line and paragraph separators, bidirectional
#: override and isolate, zero-width space, byte order mark, soft hyphen, tag, private use, filler.
HOSTILE = (
    "vm\x1b[5A\x1b[1G\x1b[0JTOLD THE TRUTH, AND SAFE.\x1b[8m\x07\x08\r\n\nSAFE\t\x00\x7f\x9b2J\x85\u2028\u2029"
    "\u202egpj\u2066\u200b\ufeff\u00ad\U000e0041\ue000\U00100000\u3164"
)


def unsafe(text: str) -> set[str]:
    """Return the characters that must never leave a command: categories C, Zl and Zp but line feeds."""
    bad = {character for character in set(text) if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co")}
    return (bad | set(text) & set("\u2028\u2029\u3164")) - {"\n"}
