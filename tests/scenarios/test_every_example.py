"""Every file under examples/ is part of a case, and every scenario has its page."""

from __future__ import annotations

import re

import pytest

from tests.scenarios import (
    test_fb_clear_dis,
    test_host_border,
    test_interface,
    test_migration,
    test_offered,
    test_tsa,
)
from tests.scenarios.running import EXAMPLES

MODULES = (test_fb_clear_dis, test_host_border, test_interface, test_migration, test_offered, test_tsa)
PAGES = EXAMPLES.parent / "docs" / "scenarios"
SCENARIOS = [*(f"S{number:02}" for number in range(1, 30)), "S03b"]


def test_every_example_is_a_case() -> None:
    files = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.toml")}
    used = {f"{folder}/{name}.toml" for module in MODULES for folder, *names in module.CASES for name in names}
    assert files == used


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_has_one_page_and_one_line(scenario: str) -> None:
    (page,) = PAGES.glob(f"{scenario.lower()}-*.md")
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {scenario}: ")
    assert re.findall(r"^## (.*)$", text, re.M) == [
        "What happened",
        "Who is told what",
        "What archcaps says",
        "The cure",
    ]
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    (kind,) = re.findall(rf"^\| {scenario} \| \[[^]]*\]\({re.escape(page.name)}\) \| ([a-z, ]*) \|", index, re.M)
    assert ("derived from the source, not confirmed on hardware" in " ".join(text.split())) is (kind == "derived")
