"""Build the wheel and the sdist, and try every command of them in empty environments: without extras, and with each.

Usage: packages.py [NAME]...: only these of the environments (sdist, plain and the names of extras). Each is made again
below build/packages. What an installed command answers has to be what the checkout's own does. Exits with 1 and a line
for each command of which that is not so.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "packages"
THREAD = "--host examples/thread/host.toml --guest examples/thread/guest.toml"
MMIO = "--about mmio_stale_data"
MOVED = "examples/fb-clear-to-sapphire-rapids"
SQL = "--hosts examples/sql/hosts.ndjson --guests examples/sql/guests.ndjson"


class Example(NamedTuple):
    """One run of a command, and the extras of which any will do (none: it works without)."""

    arguments: str
    extras: tuple[str, ...] = ()


#: OUT is a folder that is empty before each run.
EXAMPLES = (
    Example("audit examples/fleet --out OUT --quiet --html OUT/report.html", ("fleet",)),
    Example("audit examples/fleet --out OUT --quiet --html OUT/report.html --engine spark", ("spark",)),
    Example(f"check {THREAD}"),
    Example(f"check --exact {THREAD}", ("prove",)),
    Example("decode 0x400000000c08e0eb"),
    Example(f"diff 6.18.35 6.19.9 {MMIO} --what exposes-host --host-parts 6/0x86", ("prove",)),
    Example("explain fb_clear"),
    Example("fix --host examples/tsa-no-always/host.toml --guest examples/tsa-no-always/guest.toml"),
    Example("kernel 6.1.153"),
    Example(f"migrate --from {MOVED}/host-cascade-lake.toml --to {MOVED}/host-tsx-on.toml "
            f"--guest {MOVED}/guest.toml --vmm libvirt --to-vmm-version 10.1.1"),
    Example(f"pool {MOVED}/host-cascade-lake.toml {MOVED}/host-tsx-on.toml", ("fleet",)),
    Example("predict examples/predict/linux.ndjson"),
    Example("probe --no-name --no-kvm"),
    Example(f"prove host-entry-protected {MMIO} --kvm 7.3.4 --guest-kernel 7.1.5", ("prove",)),
    Example("roll-out examples/fleet --quiet --change host-kernel=6.18.35", ("fleet",)),
    Example("rules", ("fleet", "spark")),
    Example("rules --sql postgres mds_truth", ("fleet", "spark")),
    Example(f"rules --sql spark --lookups OUT {SQL}", ("fleet", "spark")),
    Example("sample-fleet 100 --out OUT", ("fleet",)),
    Example("shown --guest '-cpu Cascadelake-Server-v6,-fb-clear' --host examples/thread/host.toml"),
    Example(f"trace {THREAD}"),
    Example("upgrade --from 6.12.43 --to 6.18.9 --cpu 6/0x2a/7 --arch-capabilities none --flags avx"),
)  # fmt: skip


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def must(*words: str | Path) -> str:
    done = run(*words)
    if done.returncode:
        raise SystemExit(f"packages: {shlex.join(map(str, words))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def build() -> tuple[Path, Path]:
    """Return the wheel and the sdist, made as .venv's own hatchling makes them."""
    folder = BUILD / "dist"
    must(sys.executable, "-m", "hatchling", "build", "--directory", folder)
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


def environment(name: str, requirement: str) -> Path:
    """Return the folder of an empty environment's programs, the requirement installed."""
    folder = BUILD / name
    must(sys.executable, "-m", "venv", folder)
    must(folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", requirement)
    return folder / "bin"


def files_of(bin_folder: Path) -> set[str]:
    """Return the files of the package that is installed there, by their names in it."""
    script = "import archcaps; print(archcaps.__path__[0])"
    folder = Path(must(bin_folder / "python", "-I", "-c", script).strip())
    return {
        f"archcaps/{path.relative_to(folder)}" for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"
    }


def tried(archcaps: Path, example: Example) -> subprocess.CompletedProcess[str]:
    out = BUILD / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    return run(archcaps, *shlex.split(example.arguments.replace("OUT", str(out))))


def answer(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    return done.returncode, done.stdout


@cache
def expected(example: Example) -> tuple[int, str]:
    """Return what the checkout's own command answers, which has every extra."""
    done = tried(Path(sys.executable).with_name("archcaps"), example)
    if done.returncode >= 64:
        raise SystemExit(f"packages: {example.arguments}: {done.stderr}")
    return answer(done)


def complaints(programs: Path, installed: str | None) -> Iterator[str]:
    """Yield what is wrong with the commands in an environment that has one extra, or none."""
    archcaps = programs / "archcaps"
    commands = [line.split()[0] for line in must(archcaps, "--help").partition("\nCommands:\n")[2].splitlines() if line]
    known = {each.arguments.split()[0] for each in EXAMPLES}
    yield from (f"{name}: no example of it in {Path(__file__).name}" for name in commands if name not in known)
    for name in commands:
        done = run(archcaps, name, "--help")
        if done.returncode or done.stderr:
            yield f"{name} --help: exit code {done.returncode}: {done.stderr.strip()}"
    for each in EXAMPLES:
        done = tried(archcaps, each)
        works = not each.extras or installed in each.extras
        if works and answer(done) != expected(each):
            yield f"{each.arguments}: answers not as the checkout, exit code {done.returncode}: {done.stderr.strip()}"
        elif not works and (done.returncode != 65 or not _names_an_extra(done.stderr, each.extras)):
            yield f"{each.arguments}: without its extra, exit code {done.returncode}: {done.stderr.strip()}"


def _names_an_extra(said: str, extras: tuple[str, ...]) -> bool:
    return said.count("\n") == 1 and any(f"pip install 'archcaps[{extra}]'" in said for extra in extras)


def main(names: list[str]) -> int:
    shutil.rmtree(BUILD, ignore_errors=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wheel, sdist = build()
    requirements = {"sdist": str(sdist), "plain": str(wheel)}
    requirements |= {extra: f"{wheel}[{extra}]" for extra in project["optional-dependencies"]}
    wrong = 0
    for name, requirement in requirements.items():
        if names and name not in names:
            continue
        print(f"packages: {name}", flush=True)
        programs = environment(name, requirement)
        found = list(complaints(programs, name))
        inside = {file for file in ZipFile(wheel).namelist() if file.startswith("archcaps/")}
        if differ := sorted(inside.symmetric_difference(files_of(programs))):
            found.append(f"installed other files than the wheel's: {', '.join(differ)}")
        for line in found:
            print(f"packages: {name}: {line}", file=sys.stderr)
        wrong += len(found)
        shutil.rmtree(BUILD / name)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
