"""The command `archcaps`: its sub-commands, and one way to end badly: one clear line and an exit code of 64 or more."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module

import click

from archcaps.errors import InputError

__all__ = ["cli", "main"]

USAGE, DATA, INTERNAL = 64, 65, 70

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
        assert isinstance(found, click.Command)
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
    try:
        if "_ARCHCAPS_COMPLETE" in os.environ:
            cli.main()  # a shell asks for completions: click answers and exits
        # Not click's own main: it would take a reader that went away for exit code 1, which means something here.
        with cli.make_context("archcaps", sys.argv[1:]) as context:
            code = cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:  # --help, --version
        sys.exit(stop.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(USAGE)
    except click.UsageError as error:
        _fail(f"{error.format_message()} (see {_path(error)} --help)", USAGE)
    except click.ClickException as error:
        _fail(error.format_message(), USAGE)
    except InputError as error:
        _fail(str(error), DATA)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        if os.environ.get("ARCHCAPS_DEBUG"):
            raise
        from importlib.metadata import version  # noqa: PLC0415  # slow, and only needed here

        _fail(
            f"internal error in archcaps {version('archcaps')}: {type(error).__name__}: {error} "
            "(a bug: please report it; ARCHCAPS_DEBUG=1 shows where)",
            INTERNAL,
        )
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _path(error: click.UsageError) -> str:
    return error.ctx.command_path if error.ctx is not None else "archcaps"


def _fail(line: str, code: int) -> None:
    click.echo(f"archcaps: {' '.join(line.split())}", err=True)
    sys.exit(code)
