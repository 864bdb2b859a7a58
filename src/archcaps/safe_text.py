r"""Text of strangers made safe to show: names, option values, file names, words of other programs' files.

What a terminal obeys (control characters, ESC, the C1 controls), what turns text around (bidirectional controls), and
what nobody sees (zero-width and format characters, fillers, tags, private use, lone surrogates) is shown escaped, as
JSON escapes it: ``\u001b``. So the same function serves text, HTML, Markdown and JSON, where it changes no value.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

__all__ = ["LONGEST", "cut", "encodable", "one_line", "visible"]

#: A text of a stranger in one line of an answer is cut to so many characters, in its middle.
LONGEST: Final = 1000
#: The Unicode Standard 16.0: general categories Cc, Cf, Cs, Co, Zl and Zp, the noncharacters of the first plane, and
#: what DerivedCoreProperties.txt lists as Default_Ignorable_Code_Point. Written out, because Python's own tables differ
#: from release to release.
_UNSAFE: Final = (
    "\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ue000-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff"
)
_IN_A_LINE: Final = re.compile(f"[\n{_UNSAFE}]")
_IN_A_PAGE: Final = re.compile(f"[{_UNSAFE}]")


def visible(text: str) -> str:
    """Return a page of text with everything but line feeds shown that a terminal would obey or hide."""
    return _IN_A_PAGE.sub(_shown, text)


def one_line(text: str) -> str:
    """Return a text of a stranger as one line: line feeds are shown too, and an overlong text is cut visibly."""
    if text.isascii() and text.isprintable() and len(text) <= LONGEST:
        return text
    return _IN_A_LINE.sub(_shown, cut(text))


def cut(text: str) -> str:
    """Return a text of at most about `LONGEST` characters: what was in the middle is counted."""
    if len(text) <= LONGEST:
        return text
    head, tail = LONGEST * 2 // 3, LONGEST // 3
    return f"{text[:head]}...({len(text) - head - tail:,} characters left out)...{text[-tail:]}"


def encodable(text: str, encoding: str) -> str:
    """Return the text with what `encoding` has no code for shown escaped."""
    return text.encode(encoding, "archcaps-escaped").decode(encoding)


def _shown(found: re.Match[str]) -> str:
    return _escaped(found[0])


def _escaped(characters: str) -> str:
    """Return characters as JSON escapes them: beyond the first plane as two surrogates (RFC 8259, section 7)."""
    units = characters.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return _escaped(error.object[error.start : error.end]), error.end


codecs.register_error("archcaps-escaped", _replace)
