"""Times an audit beside what DuckDB needs without any rule, the pairs of hosts and guests, and rules row by row.

`--guests N` makes a fleet of N guests below build/ (once). The limit without any rule: DuckDB reads the same columns,
joins guests to their hosts, groups them, and writes one column back. Audit and limit are run in turns.

`--disks` compares instead the audit of the fleet with that of the same fleet in which every machine has a disk of its
own on its command line (root=UUID=...), each in a process of its own, in turns: time, processor and peak memory.
"""

from __future__ import annotations

import argparse
import re
import resource
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import duckdb
import numpy as np

from archcaps.fleet.audit import audit
from archcaps.fleet.duck import DuckDb
from archcaps.fleet.engine import Settings
from archcaps.fleet.inventory import find
from archcaps.fleet.sample import sample_fleet
from archcaps.machine.row import snapshot_of
from archcaps.questions.check import check
from archcaps.questions.many.judge import judge_pairs, questions

ROOT = Path(__file__).resolve().parent.parent
DECISIVE = [name for name in questions() if name.endswith(("_truth", "_safety"))]


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    clock, processor = perf_counter(), process_time()
    work()
    return perf_counter() - clock, process_time() - processor


def limit(folder: Path, out: Path, memory: str) -> None:
    """What an engine needs for the same rows without any rule, within the same memory."""
    database = duckdb.connect(config={"temp_directory": str(out.with_suffix(".tmp"))})
    database.execute("SET enable_progress_bar=false")
    if memory:
        database.execute(f"SET memory_limit='{memory}'")
    database.execute("SET preserve_insertion_order=false")
    guests, hosts = f"'{folder}/guests.parquet'", f"'{folder}/hosts.parquet'"
    described = database.execute(f"DESCRIBE SELECT * FROM {guests}").fetchall()
    names = [name for name, *_ in described if name not in ("guest_id", "host_id")]
    columns = ", ".join(f"g.{name}" for name in names)
    database.execute(f"CREATE TABLE h AS SELECT host_id, row_number() OVER () % 100 AS host_class FROM {hosts}")
    database.execute(f"""
        CREATE TABLE c AS SELECT row_number() OVER () AS class, * FROM (
            SELECT h.host_class, {columns} FROM {guests} g JOIN h USING (host_id) GROUP BY ALL)""")
    # Hosts and classes are small: left to itself the optimizer joins them with each other first, and with many classes
    # that is larger than all guests.
    database.execute("SET disabled_optimizers='join_order,build_side_probe_side'")
    same = " AND ".join(f"g.{name} IS NOT DISTINCT FROM c.{name}" for name in names)
    database.execute(f"""
        COPY (SELECT g.guest_id, c.class FROM {guests} g JOIN h USING (host_id)
              JOIN c ON c.host_class = h.host_class AND {same}) TO '{out}' (FORMAT parquet)""")
    database.close()


def timed_limit(folder: Path, out: Path, memory: str) -> tuple[float, float]:
    """The limit's times, in a process of its own: its memory is not the audit's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_timed_limit, folder, out, memory).result()


def _timed_limit(folder: Path, out: Path, memory: str) -> tuple[float, float]:
    return timed(lambda: limit(folder, out, memory))


def pairs(folder: Path, work: Path) -> None:
    """Every host with each of 200 classes of guests: the classes of hosts are judged, and every host takes its own."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    engine = DuckDb(find(str(folder)), work)
    classes = engine.classes()
    engine.close()
    hosts, guests = classes.hosts, classes.guests
    chosen = np.linspace(0, guests.count - 1, 200).astype(np.intp)
    on, of = np.repeat(np.arange(hosts.count), len(chosen)), np.tile(chosen, hosts.count)
    class_of = np.random.default_rng(1).integers(0, hosts.count, 100_000)
    list(judge_pairs(hosts, guests, on[:10], of[:10], DECISIVE))  # the classes' facts are looked up

    def every_pair() -> None:
        parts = [part.decided(DECISIVE[0]) for part in judge_pairs(hosts, guests, on, of, DECISIVE)]
        matrix = np.concatenate(parts).astype(np.int8).reshape(hosts.count, len(chosen))
        assert matrix[class_of].shape == (100_000, 200)

    took = [timed(every_pair) for _ in range(5)]
    print(f"20,000,000 pairs of {hosts.count} classes of hosts: {median(clock for clock, _ in took):.3f} s")


def one_by_one(folder: Path) -> float:
    """Guests a second, if each is judged by itself."""
    database = duckdb.connect()
    rows = {}
    for role in ("host", "guest"):
        found = database.execute(f"SELECT * FROM '{folder}/{role}s.parquet' LIMIT 20")
        names = [column[0] for column in found.description or []]
        rows[role] = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    both = zip(rows["host"], rows["guest"], strict=True)
    machines = [(snapshot_of(host, "host"), snapshot_of(guest, "guest")) for host, guest in both]
    clock, _ = timed(lambda: [check(host, guest, brief=True) for host, guest in machines])
    return len(machines) / clock


def with_disks(folder: Path) -> Path:
    """Write the fleet again (once), each machine with a disk of its own on its command line."""
    copy = folder.with_name(f"{folder.name}-disks")
    if not (copy / "guests.parquet").exists():
        copy.mkdir(exist_ok=True)
        lines = "'BOOT_IMAGE=/boot/vmlinuz-6.1.0-13-amd64 root=UUID=' || uuid() || ' ro quiet ' || cmdline"
        for table in ("hosts", "guests"):
            selected = f"SELECT * REPLACE ({lines} AS cmdline) FROM '{folder}/{table}.parquet'"
            duckdb.execute(f"COPY ({selected}) TO '{copy}/{table}.parquet' (FORMAT parquet)")
    return copy


def measured(folder: Path, memory: str) -> tuple[float, float, float]:
    """Seconds by the clock and of the processor, and MiB at the most, of an audit in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, folder, memory).result()


def _measured(folder: Path, memory: str) -> tuple[float, float, float]:
    found = timed(lambda: audit(find(str(folder)), folder / "out", settings=Settings(memory=memory)))
    # What getrusage says begins with the memory of the process that started this one.
    peak = re.search(r"VmHWM:\s+([0-9]+) kB", Path("/proc/self/status").read_text())
    return *found, int(peak[1]) / 1024 if peak else 0.0


def disks(folder: Path, runs: int, memory: str) -> None:
    """Print what a disk of its own on each command line costs, as a ratio: of what is measured in turns."""
    other = with_disks(folder)
    taken = [(measured(folder, memory), measured(other, memory)) for _ in range(runs)]
    for place, what in enumerate(("clock, s", "processor, s", "memory, MiB")):
        plain, own = (median(pair[which][place] for pair in taken) for which in (0, 1))
        print(f"  {what:<14}{plain:10.2f}{own:10.2f}   {own / plain:.2f} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--guests", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory", default="")
    parser.add_argument("--disks", action="store_true")
    asked = parser.parse_args()
    folder = ROOT / "build" / f"fleet-{asked.guests}"
    if not (folder / "guests.parquet").exists():
        sample_fleet(folder, asked.guests, hosts=min(100_000, max(1, asked.guests // 100)))
    if asked.disks:
        print(f"{asked.guests:,} guests, median of {asked.runs} runs in turns: without and with a disk of its own")
        disks(folder, asked.runs, asked.memory)
        return
    out = folder / "out"
    runs: dict[str, list[tuple[float, float]]] = {"limit": [], "audit": []}
    for _ in range(asked.runs):
        runs["limit"].append(timed_limit(folder, folder / "limit.parquet", asked.memory))
        runs["audit"].append(timed(lambda: audit(find(str(folder)), out, settings=Settings(memory=asked.memory))))
    (limit_clock, limit_cpu), (clock, cpu) = (
        (median(one for one, _ in taken), median(one for _, one in taken)) for taken in runs.values()
    )
    print(f"{asked.guests:,} guests, median of {asked.runs} runs in turns: clock s (processor s)")
    print(f"  without any rule  {limit_clock:8.2f} ({limit_cpu:.2f})")
    print(f"  audit             {clock:8.2f} ({cpu:.2f})   {clock / limit_clock:.2f} ({cpu / limit_cpu:.2f}) times")
    print(f"  peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")
    pairs(folder, folder / "work")
    print(f"check, guest by guest: {one_by_one(folder):.1f} guests a second")


if __name__ == "__main__":
    main()
