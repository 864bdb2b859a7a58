"""Exit with 1, naming them, when CI skipped any test: usage no_skips.py JUNIT_XML.

Does nothing unless the environment says CI. An expected failure is not a skip.
"""

import os
import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def skipped_tests(report: Path) -> list[str]:
    names = []
    for case in ET.parse(report).iter("testcase"):
        for skipped in case.iter("skipped"):
            if skipped.get("type") != "pytest.xfail":
                name = "::".join(part for part in (case.get("classname"), case.get("name")) if part)
                names.append(f"{name}: {skipped.get('message', 'no reason given')}")
    return names


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: no_skips.py JUNIT_XML", file=sys.stderr)
        return 2
    if os.environ.get("CI", "").lower() in {"", "0", "false"}:
        return 0
    try:
        skipped = skipped_tests(Path(arguments[0]))
    except (OSError, ET.ParseError) as error:
        print(f"no_skips: can't read {arguments[0]}: {error}", file=sys.stderr)
        return 1
    for name in skipped:
        print(f"skipped in CI: {name}", file=sys.stderr)
    return 1 if skipped else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
