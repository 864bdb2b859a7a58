"""How long QEMU's models take to expand: from the tables, and by QEMU's own answers over QMP."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent
RUNS = 7
#: What all models may take, the tables' loading included.
MILLISECONDS = 200.0
COLD = """
from time import perf_counter as now, process_time
start, used = now(), process_time()
from archcaps.guest_cpu.qemu.format import expand, read
from archcaps.tables import qemu
names = [name for name in qemu.model_names() if "Icelake-Client" not in name]
for name in names:
    expand(read(name, ""), None, None)
print(len(names), (now() - start) * 1000, (process_time() - used) * 1000)
"""


def from_tables() -> tuple[int, list[float], list[float]]:
    """How many models; milliseconds in fresh interpreters, imports and tables included: passed, and of the CPU."""
    runs = [
        subprocess.run([sys.executable, "-c", COLD], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(RUNS)
    ]
    return int(runs[0][0]), [float(run[1]) for run in runs], [float(run[2]) for run in runs]


def by_qemu(program: str) -> tuple[int, list[float]]:
    """The same from QEMU: started, greeted, every model asked."""
    from tools.qemu.record import Qemu  # noqa: PLC0415  # a script's folder is not the project's

    times, count = [], 0
    for _ in range(RUNS):
        start = perf_counter()
        with Qemu(program) as qemu:
            names = [each["name"] for each in qemu("query-cpu-definitions") if each["name"] != "host"]
            for name in names:
                qemu.expand(name)
        times.append((perf_counter() - start) * 1000)
        count = len(names)
    return count, times


def main() -> int:
    count, times, used = from_tables()
    ours, cpu = median(times), median(used)
    print(
        f"{count} models of QEMU, from the tables, cold: {ours:.0f} ms, of the CPU {cpu:.0f} ms "
        f"(at most {MILLISECONDS:.0f})"
    )
    program = shutil.which("qemu-system-x86_64")
    if program is None:
        print("no qemu-system-x86_64 to compare with")
    else:
        asked, theirs = by_qemu(program)
        own = median(theirs) * count / asked
        print(f"QEMU's own answers over QMP, {asked} models, its start included: {median(theirs):.0f} ms")
        print(f"ratio for as many models: {ours / own:.2f}")
    return 0 if cpu <= MILLISECONDS else 1


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
