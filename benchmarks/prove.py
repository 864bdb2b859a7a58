"""Times `archcaps prove`: the first counter-example, everything, and its peak memory; each run is a process of its own.

The times are CPU time, which other work on the machine hardly changes; it is one thread.
Beside it brute force over bit planes on a space that is small enough for it, with the same count.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

from archcaps.tables.properties import properties

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ARCHCAPS = str(Path(sys.executable).with_name("archcaps"))
RUNS = 3
OUTCOMES = {0: "holds", 1: "refuted", 3: "not decided"}


def timed(arguments: list[str]) -> tuple[float, int, int]:
    """CPU seconds, peak memory in MiB and exit code of one process."""
    process = subprocess.Popen([ARCHCAPS, *arguments], stdout=subprocess.DEVNULL, cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss >> 10, process.returncode


def against_brute_force() -> str:
    """One slice of the configurations gone through row by row, over bit planes, and as diagrams: the same counts."""
    from tests.space import test_brute_force as brute  # noqa: PLC0415  # found by the path set above

    root, cut = brute.properties()["exposed-mds"], brute.SLICES[0]
    start = perf_counter()
    space, _ = brute.sliced(root, cut, "benchmark")
    cells = sum(1 for _ in space.cells())
    diagrams = perf_counter() - start
    start = perf_counter()
    rows, _ = brute.compare(root, cut, "benchmark")
    both = perf_counter() - start
    return (
        f"exposed by MDS, 2 parts, 2 KVMs, 2 guest kernels: diagrams {diagrams:.2f} s ({cells} cells), brute force "
        f"over the {rows:,} rows of a sample of its bits {both - diagrams:.1f} s, the same counts"
    )


def main() -> int:
    print("| property | first, CPU s | everything, CPU s | MiB | outcome |\n| --- | --- | --- | --- | --- |")
    good = True
    for name in properties():
        first = median(timed(["prove", name, "--first"])[0] for _ in range(RUNS))
        seconds, memory, code = timed(["prove", name])
        print(f"| `{name}` | {first:.2f} | {seconds:.1f} | {memory} | {OUTCOMES.get(code, code)} |", flush=True)
        good = good and first < 1 and seconds < 30 and memory < 1024
    print(f"\n{against_brute_force()}")
    print(f"\nbars: first under 1 s, everything under 30 s, memory under 1 GiB: {'met' if good else 'NOT MET'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
