"""How long an answer takes: the command beside an empty Python, the import, and the evaluation alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent
THREAD = ROOT / "examples" / "thread"
RUNS, WARM_UPS = 21, 3
#: How many cases `predict` is given, and how many it should answer in a second: 100,000 in a minute.
CASES, CASES_A_SECOND = 20_000, 100_000 / 60
SECONDS = 3.0
ARCHCAPS = str(Path(sys.executable).parent / "archcaps")
#: What is measured: a name, the arguments, and what it may take in milliseconds.
COMMANDS = {
    "check": ("examples/thread", ["--host", str(THREAD / "host.toml"), "--guest", str(THREAD / "guest.toml")], 250.0),
    "decode": ("0x2b", ["0x2b"], 100.0),
    "explain": ("a line of sysfs", ["Vulnerable: Clear CPU buffers attempted, no microcode"], 150.0),
    "probe": ("this machine", ["--quiet"], 1000.0),
}
NOTHING = [sys.executable, "-c", "pass"]
IMPORT = "from time import perf_counter as now; start = now(); {}; print((now() - start) * 1000)"


def milliseconds(command: list[str]) -> float:
    """Wall time of a command."""
    start = perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    return (perf_counter() - start) * 1000


def paired(first: list[str], second: list[str]) -> tuple[list[float], list[float]]:
    """Times of two commands that take turns, so that both meet the same noise."""
    for _ in range(WARM_UPS):
        milliseconds(first), milliseconds(second)
    times = [(milliseconds(first), milliseconds(second)) for _ in range(RUNS)]
    return [a for a, _ in times], [b for _, b in times]


def importing(statement: str) -> list[float]:
    """Times of an import, measured inside a fresh interpreter."""
    command = [sys.executable, "-c", IMPORT.format(statement)]
    return [float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(RUNS)]


def evaluations() -> float:
    """Answers of check() per second, in one process, tables loaded and rules traced."""
    import archcaps  # noqa: PLC0415  # not before the times above are taken

    host = archcaps.read_snapshot(THREAD / "host.toml")
    guest = archcaps.read_snapshot(THREAD / "guest.toml")
    for _ in range(WARM_UPS):
        archcaps.check(host, guest)
    count, start = 0, perf_counter()
    while perf_counter() - start < SECONDS:
        archcaps.check(host, guest)
        count += 1
    return count / (perf_counter() - start)


def predictions() -> tuple[float, float]:
    """Seconds that `archcaps predict` takes for CASES random cases, and those of reading and writing them as JSON."""
    random = Random(1)
    examples = [json.loads(line) for line in (ROOT / "examples" / "predict" / "linux.ndjson").open()]
    kernels = ("5.10.265", "5.15.215", "6.1.192", "6.6.150", "6.12.117", "6.18.35", "7.1.5")
    said = {"msrs": {"0x8b": "0x0", "0x17": "0x0", "0xc0011020": "0x0"}, "msr_writes_succeed": True}
    lines = []
    for _ in range(CASES):
        case = {**random.choice(examples), **said, "kernel": random.choice(kernels)}
        case["bits"] = random.sample(case["bits"], random.randrange(len(case["bits"])))
        lines.append(json.dumps({**case, "arch_caps": hex(random.getrandbits(29))}))
    text = "\n".join(lines).encode()
    start = perf_counter()
    subprocess.run([ARCHCAPS, "predict"], input=text, stdout=subprocess.DEVNULL, check=True)
    took = perf_counter() - start
    start = perf_counter()
    for line in lines:
        json.dumps(json.loads(line))
    return took, perf_counter() - start


def row(name: str, times: list[float], base: float) -> str:
    middle = median(times)
    return f"| {name} | {middle / base:.1f} | {middle:.1f} | {min(times):.1f} | {max(times):.1f} |"


def main() -> int:
    measured, nothings = {}, []
    for name, (_, arguments, _) in COMMANDS.items():
        measured[name], others = paired([ARCHCAPS, name, *arguments], NOTHING)
        nothings += others
    base = median(nothings)
    print("| what | times an empty Python | median ms | min ms | max ms |\n| --- | --- | --- | --- | --- |")
    for name, (about, _, _) in COMMANDS.items():
        print(row(f"`archcaps {name}`, {about}", measured[name], base))
    print(row("`python -c pass`", nothings, base))
    print(row("`import archcaps`", importing("import archcaps"), base))
    print(row("`archcaps.check`, imported", importing("import archcaps; archcaps.check"), base))
    print(f"\ncheck() in one process, warm: {evaluations():.0f} answers per second")
    took, alone = predictions()
    each = CASES / took
    print(
        f"predict: {each:,.0f} cases per second, {took / alone:.0f} times what reading and writing them as JSON takes"
    )
    met = each > CASES_A_SECOND
    print(f"bar: `archcaps predict` {CASES_A_SECOND:,.0f} cases per second: {'met' if met else 'NOT MET'}")
    for name, (_, _, bar) in COMMANDS.items():
        good = median(measured[name]) < bar
        met = met and good
        print(f"bar: `archcaps {name}` under {bar:.0f} ms: {'met' if good else 'NOT MET'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
