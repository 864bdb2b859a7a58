"""Feeds every reader with mutants of real examples: `make fuzz`.

Nothing but `InputError` may come out of a reader, and no call may take more than a second of the processor: what does
is told and kept below build/fuzz. Exit code 1 if there is any. The same seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import archcaps
from archcaps.errors import InputError
from tools.fuzz.mutate import Mutator
from tools.fuzz.readers import Reader, readers, scratch

__all__ = ["Outcome", "feed", "main"]

#: Seconds of the processor that one call may take; with each ten lines of a file more it may take as many more.
SLOW = 1.0
#: So many faults of one kind are kept.
KEPT = 3
KEEP = Path("build") / "fuzz"


@dataclass
class Outcome:
    """What became of one reader's mutants: how many were read, how many were refused, and the faults by their kind."""

    executions: int = 0
    refused: int = 0
    slowest: float = 0.0
    faults: dict[str, list[bytes]] = field(default_factory=dict)

    def fault(self, kind: str, data: bytes) -> None:
        """Keep an input that makes a fault."""
        self.faults.setdefault(kind, []).append(data)


def feed(reader: Reader, executions: int, seed: int) -> Outcome:
    """Run a reader on so many mutants; whatever it raises is caught, and told by where it came from."""
    outcome = Outcome()
    limit = SLOW * max(1, reader.lines // 10)
    archcaps.check(
        archcaps.host(), archcaps.guest()
    )  # what is loaded, and computed once, is not the first mutant's time
    for example in reader.examples[:5]:
        with suppress(InputError):
            reader.read(example)
    for data in _inputs(reader, executions, seed):
        outcome.executions += reader.lines
        began = time.process_time()
        try:
            reader.read(data)
        except InputError:
            outcome.refused += reader.lines
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: a policy may ask for it
            outcome.fault(_kind(error), data)
        took = time.process_time() - began
        outcome.slowest = max(outcome.slowest, took)
        if took > limit:
            outcome.fault("slow", data)
    return outcome


def _inputs(reader: Reader, executions: int, seed: int) -> Iterator[bytes]:
    mutator = Mutator(reader.examples, seed)
    for _ in range(0, executions, reader.lines):
        if reader.lines == 1:
            yield mutator.next()
        else:
            yield b"".join(_last_line(mutator.next(), first=not at) + b"\n" for at in range(reader.lines))


def _last_line(data: bytes, *, first: bool) -> bytes:
    """Return a mutant as part of a file: of what has a header (CSV) the header too where it is the first."""
    return data if first else data.rstrip(b"\n").rpartition(b"\n")[2]


def _kind(error: BaseException) -> str:
    """Return an error's type and the place in archcaps that it passed last."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "archcaps" in frame.filename]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {place}"


def _run(name: str, given: argparse.Namespace) -> bool:
    """Feed one reader and say what came of it; return whether all is well."""
    outcome = feed(readers()[name], given.executions, given.seed)
    shutil.rmtree(scratch(), ignore_errors=True)
    print(
        f"fuzz: {name}: {outcome.executions:,} executions, {outcome.refused:,} refused, "
        f"slowest {outcome.slowest:.2f} s, {len(outcome.faults)} kinds of faults", flush=True,
    )  # fmt: skip
    for number, (kind, inputs) in enumerate(sorted(outcome.faults.items())):
        KEEP.mkdir(parents=True, exist_ok=True)
        paths = []
        for at, data in enumerate(sorted(inputs, key=len)[:KEPT]):
            paths.append(KEEP / f"{name}-{number}-{at}")
            paths[-1].write_bytes(data)
        print(f"fuzz: {name}: {kind}: {len(inputs)} times: {' '.join(map(str, paths))}", flush=True)
    return not outcome.faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Feed the readers, several at a time, each in a process of its own."""
    given = _parser().parse_args(arguments)
    names = [name for name in readers() if not given.only or name in given.only]
    if unknown := set(given.only or ()) - set(names):
        print(f"fuzz: no such reader: {', '.join(sorted(unknown))} (there are {', '.join(readers())})", file=sys.stderr)
        return 64
    if len(names) == 1:
        return 0 if _run(names[0], given) else 1
    with ThreadPoolExecutor(given.jobs) as pool:
        well = list(pool.map(partial(_in_a_process, given=given), names))
    wrong = [name for name, good in zip(names, well, strict=True) if not good]
    print(f"fuzz: {len(names)} readers, faults in {len(wrong)}{': ' if wrong else ''}{', '.join(wrong)}")
    return 1 if wrong else 0


def _in_a_process(name: str, given: argparse.Namespace) -> bool:
    """Feed one reader in a fresh process: what one leaves behind is not another's, and a crash is one reader's."""
    words = ["--only", name, "--executions", str(given.executions), "--seed", str(given.seed)]
    done = subprocess.run([sys.executable, "-m", __spec__.name, *words], check=False)
    if done.returncode not in (0, 1):
        print(f"fuzz: {name}: ended with {done.returncode}", flush=True)
    return done.returncode == 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Feed every reader with mutants of real examples.")
    parser.add_argument("--executions", type=int, default=100_000, help="of each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", metavar="READER")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
