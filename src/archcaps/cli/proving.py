"""The options of commands that ask about every configuration, and saving what they find."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archcaps.errors import InputError, nearest
from archcaps.safe_files import replace_file

if TYPE_CHECKING:
    from archcaps.questions.prove_results import CounterExample, ProveResult
    from archcaps.space.bounds import Bounds, PartPattern

__all__ = ["bounds_of", "bounds_options", "save_examples"]

_VENDORS = {"intel": "GenuineIntel", "amd": "AuthenticAMD", "hygon": "HygonGenuine", "zhaoxin": "  Shanghai  "}
_PART = re.compile(r"(?:([a-z]+):)?(0x[0-9a-f]+|\d+)(?:/(0x[0-9a-f]+|\d+))?(?:/(0x[0-9a-f]+|\d+))?\Z")

_OPTIONS = (
    click.option(
        "--host-parts",
        metavar="F/M/S,...",
        help="Hosts: family, model and stepping, as 6/0x6a or amd:0x19; or part of a name in Intel's list.",
    ),
    click.option(
        "--kvm",
        default="all",
        show_default=True,
        metavar="RELEASES",
        help="Host kernels: all, 7.3.4, 6.12, 6.16-6.19, or several joined by commas.",
    ),
    click.option(
        "--guest-kernel", default="all", show_default=True, metavar="RELEASES", help="Guest kernels, likewise."
    ),
    click.option(
        "--given",
        multiple=True,
        metavar="FACT=0|1",
        help="Only where a fact or a rule has this value, as host.fb_clear_ctrl=1 or vm.has_mapped_host_mmio=0; an "
        "option of a kernel, as host_kernel.tsx_on=1, is set to it.",
    ),
    click.option("--host-cmdline", default="", metavar="TEXT", help="The command line of every host's kernel."),
    click.option("--guest-cmdline", default="", metavar="TEXT", help="The command line of every guest's kernel."),
    click.option("--any-silicon", is_flag=True, help="Also hardware that does not exist: without the axioms."),
)


def bounds_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that bound the configurations; the command gets them by name."""
    found = command
    for option in reversed(_OPTIONS):
        found = option(found)
    return found


def bounds_of(options: Mapping[str, object]) -> Bounds:
    """Return the bounds that the options of `bounds_options` are.

    Raises:
        InputError: one of them cannot be read.
    """
    from archcaps.space.bounds import Bounds  # noqa: PLC0415  # needs the extra
    from archcaps.space.releases import choose_releases  # noqa: PLC0415  # as above

    given: Any = options
    return Bounds(
        host_parts=tuple(_parts(given["host_parts"])) if given["host_parts"] else (),
        kvm=choose_releases(given["kvm"], "--kvm"),
        guest_kernels=choose_releases(given["guest_kernel"], "--guest-kernel"),
        given=dict(_given(word) for word in given["given"]),
        any_silicon=given["any_silicon"],
        host_cmdline=given["host_cmdline"],
        guest_cmdline=given["guest_cmdline"],
    )


def _parts(words: str) -> Iterator[PartPattern]:
    from archcaps.space.bounds import PartPattern  # noqa: PLC0415  # needs the extra

    for word in (part.strip() for part in words.split(",")):
        match = _PART.match(word.lower())
        if match is None:
            yield from _by_name(word)
            continue
        vendor, *numbers = match.groups()
        if vendor is not None and vendor not in _VENDORS:
            raise InputError(f"unknown vendor {vendor!r} (expected one of {', '.join(_VENDORS)})", "--host-parts")
        family, model, stepping = (None if text is None else int(text, 0) for text in numbers)
        yield PartPattern(None if vendor is None else _VENDORS[vendor], family, model, stepping)


def _by_name(word: str) -> Iterator[PartPattern]:
    from archcaps.space.bounds import PartPattern  # noqa: PLC0415  # needs the extra
    from archcaps.tables.files import read_csv  # noqa: PLC0415  # as above

    rows = [row for row in read_csv("silicon/intel_affected.csv") if word.lower() in row["name"].lower()]
    if not word or not rows:
        raise InputError(
            f"no part is {word!r} (expected family/model/stepping, as 6/0x6a or amd:0x19, or a name in Intel's list)",
            "--host-parts",
        )
    for row in rows:
        for text in row["signature"].split():
            eax = int(text, 16)  # CPUID.1:EAX, Intel SDM volume 2
            yield PartPattern("GenuineIntel", eax >> 8 & 0xF, eax >> 12 & 0xF0 | eax >> 4 & 0xF, eax & 0xF)


def _given(word: str) -> tuple[str, bool]:
    from archcaps.space.given import is_known  # noqa: PLC0415  # needs the extra

    name, equals, value = word.partition("=")
    if not equals or value not in ("0", "1"):
        raise InputError(f"{word!r} gives nothing (expected FACT=0 or FACT=1)", "--given")
    known, like = is_known(name)
    if not known:
        raise InputError(f"no rule reads a fact {name!r}{nearest(name, like)}", "--given")
    return name, value == "1"


def save_examples(result: ProveResult, folder: Path) -> Iterator[Path]:
    """Write every counter-example as two snapshots into `folder`; yield the paths.

    Raises:
        InputError: the folder or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for outcome in result.outcomes:
            for number, row in enumerate(outcome.deviations, 1):
                yield from _save(row.example, folder / f"{result.property}-{outcome.subject}-{number}")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", str(error.filename or folder)) from error


def _save(example: CounterExample, start: Path) -> Iterator[Path]:
    import msgspec  # noqa: PLC0415  # only where something is saved

    for machine in (example.host, example.guest):
        path = start.with_name(f"{start.name}-{machine.role}.json")
        replace_file(path, msgspec.json.format(msgspec.json.encode(machine), indent=2) + b"\n")
        yield path
