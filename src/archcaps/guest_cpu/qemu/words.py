"""A QEMU command line as words, each with its place in the text: as a shell reads it, or as /proc gives it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from archcaps.errors import InputError
from archcaps.guest_cpu.qemu.shell import MAX_PIECES, Command, Word, commands

__all__ = ["CommandLine", "Word", "command_line", "is_other_qemu", "is_qemu", "is_qemu_program", "program_in", "quoted"]

_PROGRAM: Final = re.compile(r"(?:qemu-system-(?:x86_64|i386)(?:-[a-z0-9-]*)?(?:\.exe)?|qemu-kvm|kvm)\Z")
#: A QEMU for whatever CPU.
_ANY_QEMU: Final = re.compile(r"(?:qemu-system-([a-z0-9_]+)(?:-[a-z0-9-]*)?(?:\.exe)?|qemu-kvm|kvm)\Z")
#: What may stand before the program, which says how it is started and not what it is, and how many words it takes that
#: are no options of its own.
_BEFORE: Final = {
    "exec": 0, "sudo": 0, "doas": 0, "nohup": 0, "nice": 0, "ionice": 0, "env": 0, "command": 0, "time": 0,
    "timeout": 1, "taskset": 1, "numactl": 0, "chrt": 1, "setsid": 0, "systemd-run": 0, "strace": 0, "ltrace": 0,
    "stdbuf": 0, "unshare": 0, "nsenter": 0, "setarch": 1, "prlimit": 0, "setpriv": 0, "runuser": 0, "chroot": 1,
    "gdb": 0, "valgrind": 0, "perf": 1, "cgexec": 0, "firejail": 0, "ip": 3, "dbus-run-session": 0, "pkexec": 0,
    "systemd-inhibit": 0, "screen": 0, "gamemoderun": 0, "prime-run": 0, "choom": 0, "eval": 0, "softlimit": 0,
    "catchsegv": 0, "rr": 1, "daemonize": 0, "start-stop-daemon": 0, "xvfb-run": 0, "unbuffer": 0, "su": 1, "capsh": 0,
}  # fmt: skip
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
#: Options of QEMU that take no word after them. Source: QEMU 11.1 qemu-options.hx, those without HAS_ARG
_ALONE: Final = frozenset((
    "enable-kvm", "nographic", "snapshot", "daemonize", "S", "s", "no-reboot", "no-shutdown", "nodefaults",
    "no-user-config", "no-hpet", "no-acpi", "usb", "full-screen", "only-migratable", "no-fd-bootchk", "preconfig",
    "win2k-hack", "no-quit", "alt-grab", "ctrl-grab", "portrait", "singlestep", "version", "no-kvm", "no-kvm-irqchip",
    "mem-prealloc", "enable-fips", "sdl", "no-kvm-pit", "semihosting", "old-param", "xen-attach", "h", "help",
    "localtime", "curses",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class CommandLine:
    """QEMU's arguments in order: each option's name without dashes, with the word after it, if that is no option.

    `alone` are words that are no option and no option's value: QEMU takes them as disks.
    """

    program: str
    options: tuple[tuple[str, Word | None], ...]
    end: int
    alone: tuple[Word, ...] = ()

    def last(self, *names: str) -> Word | None:
        """Return the word after the last of these options; None: none of them is given, or it has no word."""
        found = [word for name, word in self.options if name in names]
        return found[-1] if found else None

    def all(self, *names: str) -> list[str]:
        """Return the values of all these options, in order."""
        return [word.value for name, word in self.options if name in names and word is not None]

    def has(self, name: str) -> bool:
        """Return whether an option is given."""
        return any(name == option for option, _ in self.options)


def is_qemu_program(name: str) -> bool:
    """Return whether a program's name or path is that of a QEMU for x86."""
    return _PROGRAM.match(_base(name)) is not None


def is_other_qemu(name: str) -> bool:
    """Return whether a program's name or path is that of a QEMU for another CPU."""
    return not is_qemu_program(name) and _ANY_QEMU.match(_base(name)) is not None


def is_qemu(argv: Sequence[str]) -> bool:
    """Return whether a process with this command line is a QEMU for x86."""
    return bool(argv) and is_qemu_program(argv[0])


def command_line(text: str, where: str) -> CommandLine:
    """Return a command line's options; the text is a shell's, or NUL-separated as in /proc/PID/cmdline.

    Raises:
        InputError: a quote is not closed, it starts a QEMU for another CPU, or several.
    """
    if "\0" in text:
        given = _from_proc(text, where)
        if given and is_qemu_program(given[0].value):
            return _options(given[0].value, given[1:], text)
        return _options("", given, text)
    every = list(commands(text, where))
    found = _started(every)
    if not found:
        found = _started_by_quoted_words(every, where) or _started_somewhere(every)
    _refuse_others(found, text, where)
    if found:
        program, words = found[0]
        return _options(program.value, list(words), text)
    bare = next((each.words for each in every if each.words[0].value.startswith("-")), ())
    return _options("", list(bare), text)


def quoted(value: str, text: str) -> str:
    """Return a word as it is written in a text of that kind."""
    return value if "\0" in text else shlex.quote(value)


def program_in(words: Sequence[Word], program: re.Pattern[str] = _ANY_QEMU) -> int | None:
    """Return the place of the QEMU (or other `program`) that a command starts; None: it starts something else.

    Before it may stand variables that are set, and commands that start others, with their own options and words.
    """
    allowed, after_option = 0, False
    for place, word in enumerate(words):
        value = word.value
        set_here = _ASSIGNMENT.match(value)
        name = _base(value if set_here is None else value[set_here.end() :])
        if program.match(name):  # a unit of systemd has ExecStart= before it
            after = words[place + 1].value if place + 1 < len(words) else ""
            return place if set_here is None or after.startswith("-") else None
        if value in ("-v", "-V") and place and words[place - 1].value == "command":
            return None
        if name in _BEFORE and set_here is None:
            allowed, after_option = _BEFORE[name], False
        elif set_here:
            continue
        elif value.startswith("-") and place:
            after_option = "=" not in value
        elif after_option and place:
            after_option = False
        elif allowed and place:
            allowed -= 1
        else:
            return None
    return None


Started = tuple[Word, tuple[Word, ...]]


def _started(every: Sequence[Command]) -> list[Started]:
    """Return the QEMUs that the commands start: each program with the words after it."""
    places = [(each.words, program_in(each.words)) for each in every]
    found = [(words[place], words[place + 1 :]) for words, place in places if place is not None]
    return [each for each in found if not _asks(each[1])] or found


def _asks(words: Sequence[Word]) -> bool:
    """Return whether QEMU is only asked for its version or for a list."""
    return any(word.value.lstrip("-") in ("version", "help", "h", "?") for word in words)


def _started_by_quoted_words(every: Sequence[Command], where: str) -> list[Started]:
    """Return the QEMUs in words that are command lines themselves, as of sh -c '...'."""
    found = []
    for each in every:
        for word in each.words:
            first = word.value[:4096].split(None, 1)[:1] if " " in word.value else []
            if first and _ANY_QEMU.match(_base(first[0])):
                for program, words in _started(list(commands(word.value, where))):
                    inner = tuple(Word(part.value, word.start, word.end, part.missing, whole=False) for part in words)
                    found.append((program, inner))
    return found


def _started_somewhere(every: Sequence[Command]) -> list[Started]:
    """Return the QEMUs that stand among words with an option right after them, as in the output of ps."""
    return [
        (word, each.words[place + 1 :])
        for each in every
        for place, word in enumerate(each.words[:-1])
        if "=" not in word.value and _ANY_QEMU.match(_base(word.value)) and each.words[place + 1].value.startswith("-")
    ]


def _refuse_others(found: Sequence[Started], text: str, where: str) -> None:
    if len(found) > 1:
        some = ", ".join(str(_line(text, program)) for program, _ in found[:5])
        raise InputError(f"{len(found)} QEMUs are started (lines {some}): give the command line of one", where)
    for program, _ in found:
        match = _ANY_QEMU.match(_base(program.value))
        if match is not None and match[1] and not is_qemu_program(program.value):
            raise InputError(
                f"a guest of {match[1]} ({_base(program.value)}): archcaps knows x86 alone",
                where if "\n" not in text.strip() else f"{where}:{_line(text, program)}",
            )


def _line(text: str, word: Word) -> int:
    return text.count("\n", 0, word.start) + 1


def _base(name: str) -> str:
    """Return a program's name without its path (a Windows one too)."""
    return PurePath(name.rpartition("\\")[2]).name if len(name) < 4096 else ""


def _options(program: str, words: Sequence[Word], text: str) -> CommandLine:
    options: list[tuple[str, Word | None]] = []
    alone = []
    taken = -1
    for place, word in enumerate(words):
        if len(word.value) > 1 and word.value.startswith("-"):
            name = word.value.lstrip("-")
            after = words[place + 1] if place + 1 < len(words) else None
            if after is not None and (after.value[:1] == "-" or name in _ALONE or after.missing in ("$@", "$*")):
                after = None
            taken = place + 1 if after is not None else taken
            options.append((name, after))
        elif place != taken:
            alone.append(word)
    return CommandLine(program, tuple(options), words[-1].end if words else len(text), tuple(alone))


def _from_proc(text: str, where: str) -> list[Word]:
    if text.count("\0") > MAX_PIECES:
        raise InputError(f"more than {MAX_PIECES} words: not a guest's command line", where)
    words, start = [], 0
    for value in text.split("\0"):
        words.append(Word(value, start, start + len(value)))
        start += len(value) + 1
    return words[:-1] if words and not words[-1].value else words
