"""QEMU's -cpu option: the model, and the words after it as QEMU takes them.

Source: QEMU target/i386/cpu.c x86_cpu_parse_featurestr, x86_cpu_expand_features; answers of QEMU 7.2 to 11.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from archcaps.errors import InputError, nearest
from archcaps.tables import qemu as tables

__all__ = ["CpuOption", "FeatureWord", "canonical", "parse_cpu"]

_ON: Final = ("on", "yes", "true", "y")
_OFF: Final = ("off", "no", "false", "n")
#: QEMU 11.1 has some 500 properties of a CPU.
MAX_WORDS: Final = 5_000
#: Model names that are no entry of the tables.
SPECIAL: Final = ("host", "max", "base")


@dataclass(frozen=True, slots=True)
class FeatureWord:
    """One word after the model: ``+fb-clear``, ``mds_no=off``, ``vendor=GenuineIntel``.

    `name` is the property's own; `sign` is +, - or nothing; `value` is what follows the equals sign (on, without one).
    """

    text: str
    sign: str
    name: str
    value: str

    @property
    def on(self) -> bool:
        """Whether a true-or-false property is switched on."""
        return self.sign == "+" or (not self.sign and self.value.lower() in _ON)


@dataclass(frozen=True, slots=True)
class CpuOption:
    """A -cpu value: its model and its words, in the order written."""

    model: str
    words: tuple[FeatureWord, ...]

    def states(self) -> dict[str, bool]:
        """Return every true-or-false property that is set, with what it comes to.

        Of words with an equals sign the last holds; + goes before them wherever it stands, and - before both.
        """
        found = {
            word.name: word.on
            for word in self.words
            if not word.sign and tables.properties()[word.name].kind != "value"
        }
        for sign in "+-":
            found |= {word.name: sign == "+" for word in self.words if word.sign == sign}
        return found

    def value(self, name: str) -> str | None:
        """Return the last value that a property with a value is given."""
        values = [word.value for word in self.words if word.name == name and not word.sign]
        return values[-1] if values else None


def canonical(name: str) -> str:
    """Return a property's own name for a second one: sse4.1 for sse4-1."""
    found = tables.properties().get(name)
    return found.of if found is not None and found.of else name


def parse_cpu(text: str, where: str) -> CpuOption:
    """Return what a -cpu value says.

    Raises:
        InputError: no release of QEMU that archcaps knows has such a model or property, or takes such a value.
    """
    model, *words = text.split(",")
    if len(words) > MAX_WORDS:
        raise InputError(f"more than {MAX_WORDS} words after -cpu: not a guest's configuration", where)
    if model in ("help", "?"):
        raise InputError("asks QEMU for its list of models, not for a CPU", where)
    names = [*SPECIAL, *tables.model_names()]
    if model not in names:
        raise InputError(f"QEMU has no CPU model {model[:80]!r}{nearest(model, names)}", where)
    return CpuOption(model, tuple(_word(word, where) for word in words if word))


def _word(text: str, where: str) -> FeatureWord:
    sign = text[0] if text[0] in "+-" else ""
    name, _, value = text[len(sign) :].partition("=") if not sign else (text[1:], "", "on")
    if not sign:
        name, value = name.replace("_", "-"), value if "=" in text else "on"
        name = {"tsc-freq": "tsc-frequency"}.get(name, name)
    known = tables.properties()
    if name not in known:
        dashes = name.replace("_", "-")
        if sign and dashes in known:
            raise InputError(
                f"QEMU refuses {text[:80]!r}: after {sign} a name takes dashes ({sign}{dashes}); underscores are "
                f"only read before an equals sign",
                where,
            )
        raise InputError(f"QEMU has no CPU property {name[:80]!r}{nearest(dashes, known)}", where)
    found = FeatureWord(text, sign, canonical(name), value)
    if known[name].kind == "value":
        if sign:
            raise InputError(f"{name} takes a value ({name}=...), not {sign}", where)
    elif known[name].kind != "hyperv" and not sign and value.lower() not in (*_ON, *_OFF):
        raise InputError(f"{name} is {value[:80]!r} (expected on or off)", where)
    return found
