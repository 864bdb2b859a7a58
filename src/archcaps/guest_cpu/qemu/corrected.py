"""The corrected -cpu option: the user's own words in their order, and as little as possible changed in them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import unified_diff
from typing import Final

from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.changes import GuestChange, MachineChange, ModelChange, Patch, SwitchChange
from archcaps.guest_cpu.qemu.cpu_option import FeatureWord, parse_cpu
from archcaps.guest_cpu.qemu.models import Setting, definition, setting
from archcaps.guest_cpu.qemu.words import CommandLine, Word, command_line, quoted
from archcaps.tables import qemu as tables
from archcaps.tables.bits import BITS

__all__ = ["MARK", "patch"]

#: How a -cpu value is marked where it could be taken for something else.
MARK: Final = "qemu:"
_PARENTS: Final = {"ia32_arch_capabilities": "arch-capabilities"}


class _Text:
    """A configuration's text, its -cpu value, and its machine type, each of which can be set again."""

    def __init__(self, asked: Asked) -> None:
        self.text = asked.text
        self.where = asked.where
        stripped = asked.text.strip()
        self.line: CommandLine | None = None
        if stripped.startswith(MARK) or not any(sign in stripped for sign in " \t\r\n\0"):
            self._start = asked.text.index(stripped) + (len(MARK) if stripped.startswith(MARK) else 0)
            self.cpu = stripped.removeprefix(MARK)
        else:
            self.line = command_line(asked.text, asked.where)
            word = self.line.last("cpu")
            self.cpu = asked.model or "" if word is None else word.value

    def set_cpu(self, value: str) -> None:
        """Put another -cpu value in place of the one that counts."""
        if self.line is None:
            self.text = self.text[: self._start] + value + self.text[self._start + len(self.cpu) :]
        else:
            self._set(self.line.last("cpu"), "-cpu", value)
        self.cpu = value

    def set_machine(self, machine: str) -> bool:
        """Put another machine type in place; False: a mere -cpu value names none."""
        if self.line is None:
            return False
        word = self.line.last("machine", "M")
        parts = [] if word is None else word.value.split(",")
        at = next((place for place, part in enumerate(parts) if part.startswith("type=")), None)
        if at is not None:
            parts[at] = f"type={machine}"
        elif parts and "=" not in parts[0]:
            parts[0] = machine
        else:
            parts.insert(0, machine)
        self._set(word, "-machine", ",".join(parts))
        return True

    def _set(self, word: Word | None, option: str, value: str) -> None:
        assert self.line is not None
        if word is not None and not word.whole:
            what = f"-{option.lstrip('-')} stands in a variable with other words: write it out in the command itself"
            raise InputError(what, self.where)
        if word is not None:
            self.text = self.text[: word.start] + quoted(value, self.text) + self.text[word.end :]
        elif "\0" in self.text:
            self.text = self.text.rstrip("\0") + f"\0{option}\0{value}\0"
        else:
            end = self.line.end
            self.text = f"{self.text[:end]} {option} {quoted(value, self.text)}{self.text[end:]}"
        self.line = command_line(self.text, self.where)


def patch(asked: Asked, changes: Sequence[GuestChange]) -> Patch:
    """Return the command line or -cpu value with `changes` made; what QEMU has no words for is left, and said.

    Raises:
        InputError: the configuration's release is none.
    """
    impossible: list[tuple[GuestChange, str]] = []
    if asked.live or asked.text.lstrip().startswith("{"):
        why = "this was read over QMP: change the configuration that QEMU is started with, and start it again"
        return Patch("qemu", asked.text, asked.text, "", tuple((change, why) for change in changes))
    text = _Text(asked)
    hidden = {change.bit for change in changes if isinstance(change, SwitchChange) and not change.on}
    for change in changes:
        where = setting(asked.release, asked.machine, asked.where)
        match change:
            case MachineChange(machine):
                why = (
                    "" if text.set_machine(machine) else "a mere -cpu value names no machine type: set QEMU's -machine"
                )
            case ModelChange(model):
                why = _set_model(text, model, where)
            case SwitchChange(bit, on):
                why = _hidden_with_its_register(bit, hidden) if on else ""
                why = why or _set_switch(text, bit, where, on=on)
        if why:
            impossible.append((change, why))
    diff = "".join(_diff(asked.text, text.text))
    return Patch("qemu", asked.text, text.text, diff, tuple(impossible))


def _set_model(text: _Text, model: str, where: Setting) -> str:
    try:
        if model not in ("host", "max", "base"):
            definition(model, where, text.where)
    except InputError as error:
        return str(error)
    text.set_cpu(",".join([model, *text.cpu.split(",")[1:]]))
    return ""


def _hidden_with_its_register(bit: str, hidden: Collection[str]) -> str:
    """Return why a bit cannot be shown, where the same changes hide the register that it stands in."""
    parent = _PARENTS.get(BITS[bit].register)
    if parent is None or parent.replace("-", "_") not in hidden:
        return ""
    return f"the same changes hide {parent}, without which QEMU clears {bit}: it cannot be shown too"


def _set_switch(text: _Text, bit: str, where: Setting, *, on: bool) -> str:
    """Set a feature; return why that cannot be done."""
    row = BITS[bit]
    name = row.names.get("qemu")
    if name is None:
        passes = "; -cpu host,migratable=off passes what KVM offers of it" if on else ""
        return f"QEMU has no name for {bit}: it can neither be set nor hidden by one{passes}"
    if where.has_property(name) is not True:
        span = tables.properties()[name].span if name in tables.properties() else None
        first = "" if span is None else f" ({'.'.join(map(str, span.known or span.first))} has it)"
        return f"QEMU {where.text} has no property {name}{first}: it needs a newer QEMU"
    parent = _PARENTS.get(row.register)
    if on and parent is not None and _state(text, parent, where) is False:
        _set_feature(text, parent, where, on=True)
    _set_feature(text, name, where, on=on)
    return ""


def _set_feature(text: _Text, name: str, where: Setting, *, on: bool) -> None:
    """Say a feature's state in the -cpu value, unless it comes out like that already."""
    option = parse_cpu(text.cpu, text.where)
    said = [word for word in option.words if word.name == name]
    if _state(text, name, where) is on:
        return
    kept = [word for word in option.words if word.name != name or word is said[0]]
    words = [_respelt(word, on=on) if said and word is said[0] else word.text for word in kept]
    if not said:
        signs = option.words and all(word.sign for word in option.words)
        words.append(f"{'+' if on else '-'}{name}" if signs else f"{name}={'on' if on else 'off'}")
    text.set_cpu(",".join([option.model, *words]))


def _state(text: _Text, name: str, where: Setting) -> bool | None:
    """Return a feature's state by the words and the model; None: it is the host's."""
    option = parse_cpu(text.cpu, text.where)
    states = option.states()
    if name in states:
        return states[name]
    if option.model in ("host", "max"):
        return None
    return name in definition(option.model, where, text.where).features


def _respelt(word: FeatureWord, *, on: bool) -> str:
    if word.sign:
        return f"{'+' if on else '-'}{word.text[1:]}"
    return f"{word.text.partition('=')[0]}={'on' if on else 'off'}"


def _diff(before: str, after: str) -> list[str]:
    old, new = ([line + "\n" for line in text.replace("\0", "\n").splitlines()] for text in (before, after))
    return list(unified_diff(old, new, "before", "after"))
