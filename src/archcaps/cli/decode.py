"""archcaps decode."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import click

from archcaps.cli.output import flush, say, style
from archcaps.cli.screen import width
from archcaps.errors import InputError
from archcaps.questions import decode as ask
from archcaps.questions.decode import DEFAULT_REGISTER, Decoded, Difference, Encoded
from archcaps.report.decode import Writer, render_json
from archcaps.tables.bits import CONSUMERS

__all__ = ["decode"]

#: A line with every bit of every register in it would be shorter.
_LINE_BYTES = 1 << 16

_EPILOG = """
\b
Examples:
  archcaps decode 0x400000000c08e0eb
  archcaps decode --register 7.0:edx 0xbc000400
  archcaps decode rdcl-no,mds-no,taa-no
  archcaps decode --diff 0xc0aa0eb 0x400000000c08e0eb
  echo 0x2b | archcaps decode --json

\b
Exit codes:
  0  decoded
  64 and more: wrong usage, unreadable input, internal error
"""


@click.command(epilog=_EPILOG)
@click.argument("values", nargs=-1, metavar="[VALUE|NAMES]...")
@click.option(
    "--register", metavar="REGISTER", help="Whose bits they are, by name or address: ia32_spec_ctrl, 0x48, 7.0:edx. "
    f"By default {DEFAULT_REGISTER} (MSR 0x10a).",
)  # fmt: skip
@click.option(
    "--names", type=click.Choice(["archcaps", *CONSUMERS]), default="archcaps", show_default=True,
    help="Whose names to print; in brackets archcaps' own where that consumer has none.",
)  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="The clear bits too.")
@click.option(
    "--diff", nargs=2, metavar="A B", help="What only one of two values has, and what that means in a migration pool."
)
@click.option(
    "--json", "as_json", is_flag=True,
    help="JSON (schemas/decode-1.json): one object, for several values and for standard input one a line.",
)  # fmt: skip
@click.option(
    "--color/--no-color", default=None, help="Colours: on a terminal only, unless said; NO_COLOR is honoured."
)
def decode(
    values: tuple[str, ...],
    register: str | None,
    names: str,
    everything: bool,
    diff: tuple[str, str] | None,
    as_json: bool,
    color: bool | None,
) -> None:
    """Say which bits a register's value has and what each claims, or which value has the named bits.

    VALUE is decimal, or 0x and hexadecimal digits. NAMES are anybody's names of bits (archcaps', Intel's, Linux's,
    QEMU's, libvirt's or Xen's), parted by commas or spaces. With - or from a pipe one of them is read from each line
    of standard input; blank lines and # comments are skipped.
    """
    target = None if register is None else ask.find_register(register, "--register")
    piped = values == ("-",) or (not values and diff is None and (sys.stdin is None or not sys.stdin.isatty()))
    if diff is not None and values:
        raise click.UsageError("--diff takes its two values alone")
    answers: Iterable[Decoded | Encoded | Difference]
    if diff is not None:
        answers = [_difference(*diff, target)]
    elif piped:
        answers = _from_lines(target, everything=everything)
    else:
        answers = _from_arguments(values, target, everything=everything)
    if as_json:
        indented = isinstance(answers, list) and len(answers) == 1
        for answer in answers:
            say(render_json(answer, indented=indented))
            flush()
        return
    writer = Writer(style, width(), names)
    for answer in answers:
        if isinstance(answer, Decoded):
            text = writer.value(answer, everything=everything)
        else:
            text = writer.names(answer) if isinstance(answer, Encoded) else writer.difference(answer)
        say(text, color)
    say(writer.legend(), color)


def _from_arguments(values: tuple[str, ...], register: str | None, *, everything: bool) -> list[Decoded | Encoded]:
    if not values:
        raise click.UsageError("nothing to decode: give values or names of bits, or - for standard input")
    if all(map(ask.is_value, values)):
        target = register or DEFAULT_REGISTER
        return [ask.decode(ask.value_in(value, target), target, everything=everything) for value in values]
    if any(map(ask.is_value, values)) or "-" in values:
        raise click.UsageError("values, names and - cannot be given together")
    return [ask.encode([name for value in values for name in ask.names_in(value)], register)]


def _from_lines(register: str | None, *, everything: bool) -> Iterator[Decoded | Encoded]:
    """Yield the answer for every line of standard input as it comes."""
    target, found = register or DEFAULT_REGISTER, False
    for number, raw in enumerate(iter(_line, b""), start=1):
        where = f"standard input:{number}"
        if len(raw) == _LINE_BYTES:
            raise InputError("the line is too long", where)
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").partition("#")[0].strip()
        except UnicodeDecodeError as error:
            raise InputError(f"not UTF-8 text (byte {error.start})", where) from error
        if not text:
            continue
        found = True
        if ask.is_value(text):
            yield ask.decode(ask.value_in(text, target, where), target, everything=everything)
        else:
            yield ask.encode(text, register, where)
    if not found:
        raise InputError("no values", "standard input")


def _line() -> bytes:
    """Return the next line of standard input, empty at its end."""
    if sys.stdin is None:  # closed by whoever started us
        return b""
    try:
        return sys.stdin.buffer.readline(_LINE_BYTES)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", "standard input") from error


def _difference(a: str, b: str, register: str | None) -> Difference:
    """Return the difference of two sides, each a value or names."""
    numbers: list[int | None] = []
    for text in (a, b):
        if ask.is_value(text):
            numbers.append(None)
            continue
        values = ask.encode(text, register).values
        if len(values) > 1 or (register is not None and values[0].register != register):
            raise InputError(f"{text!r} is not of one register (expected names of {register or 'one'})", "--diff")
        register = values[0].register
        numbers.append(int(values[0]))
    target = register or DEFAULT_REGISTER
    sides = [ask.value_in(text, target, "--diff") if number is None else number
             for text, number in zip((a, b), numbers, strict=True)]  # fmt: skip
    return ask.difference(sides[0], sides[1], target)
