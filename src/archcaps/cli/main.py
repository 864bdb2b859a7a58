"""The command `archcaps`: its sub-commands, and one way to end badly: one clear line and an exit code of 64 or more."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from inspect import cleandoc

import click

from archcaps.cli.ends import ends_as_interrupt
from archcaps.cli.output import OutputError, broken, flush, open_streams, tell, to_nowhere
from archcaps.docstrings import docstring_of
from archcaps.errors import InputError

__all__ = ["cli", "main"]

USAGE, DATA, INTERNAL, OUTPUT = 64, 65, 70, 74

#: Sub-commands and the module that has each: loaded only when asked for, so that every command starts fast.
_COMMANDS = {
    "audit": "archcaps.cli.audit",
    "check": "archcaps.cli.check",
    "decode": "archcaps.cli.decode",
    "diff": "archcaps.cli.diff",
    "explain": "archcaps.cli.explain",
    "fix": "archcaps.cli.fix",
    "kernel": "archcaps.cli.kernel",
    "migrate": "archcaps.cli.migrate",
    "pool": "archcaps.cli.pool",
    "predict": "archcaps.cli.predict",
    "probe": "archcaps.cli.probe",
    "prove": "archcaps.cli.prove",
    "roll-out": "archcaps.cli.roll_out",
    "sample-fleet": "archcaps.cli.sample_fleet",
    "shown": "archcaps.cli.shown",
    "rules": "archcaps.cli.rules",
    "trace": "archcaps.cli.trace",
    "upgrade": "archcaps.cli.upgrade",
}


class _Commands(click.Group):
    """A group that loads a sub-command's module when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        found = getattr(import_module(_COMMANDS[cmd_name]), cmd_name.replace("-", "_"))
        if not isinstance(found, click.Command):
            raise TypeError(f"{cmd_name} is no command")
        if not found.help and found.callback is not None:  # docstrings were left out (-OO)
            found.help = cleandoc(docstring_of(found.callback)) or None
        return found


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="archcaps", message="%(prog)s %(version)s")
def cli() -> None:
    """Is my virtual machine told the truth about its CPU?

    archcaps takes a host, its KVM, a guest's CPU and the guest's kernel, and says what the guest is shown, what it
    concludes, what the hardware and KVM really do, and whether data can leak.

    \b
    Example:
      archcaps check --host examples/thread/host.toml --guest examples/thread/guest.toml
    """  # noqa: D301  # \b is click's mark for text that is not to be filled


def main() -> None:
    """Run the command line and exit with its code."""
    gc.disable()  # one short answer: looking for cycles costs more than it frees
    open_streams()
    ended = ends_as_interrupt()
    try:
        if "_ARCHCAPS_COMPLETE" in os.environ:
            cli.main()  # a shell asks for completions: click answers and exits
        # Not click's own main: it would take a reader that went away for exit code 1, which means something here.
        with cli.make_context("archcaps", sys.argv[1:]) as context:
            code = cli.invoke(context)
        flush()
    except click.exceptions.Exit as stop:  # --help, --version
        sys.exit(stop.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        for line in error.format_message().splitlines():
            tell(line)
        sys.exit(USAGE)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(128 + ended.signal)
    except BrokenPipeError:
        to_nowhere(1)  # whoever read our output has gone; there is nobody to tell
        sys.exit(141)
    except Exception as error:
        if os.environ.get("ARCHCAPS_DEBUG"):
            raise
        line, exit_code = _said(error)
        tell(f"archcaps: {line}")
        sys.exit(exit_code)
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _said(error: Exception) -> tuple[str, int]:
    """Return what an error is in one line, and the exit code."""
    if isinstance(error, click.UsageError):
        return f"{' '.join(error.format_message().split())} (see {_path(error)} --help)", USAGE
    if isinstance(error, click.ClickException):
        return " ".join(error.format_message().split()), USAGE
    if isinstance(error, InputError):
        return str(error), DATA
    if isinstance(error, OutputError):
        return str(error), OUTPUT
    if isinstance(error, OSError) and error.filename is None:  # click writes its own pages
        return str(broken(error)), OUTPUT
    from importlib.metadata import version  # noqa: PLC0415  # slow, and only needed here

    what = f"internal error in archcaps {version('archcaps')}: {type(error).__name__}: {error}"
    return f"{what} (a bug: please report it; ARCHCAPS_DEBUG=1 shows where)", INTERNAL


def _path(error: click.UsageError) -> str:
    return error.ctx.command_path if error.ctx is not None else "archcaps"
