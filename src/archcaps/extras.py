"""What some commands need beside archcaps' own dependencies: the extras of its package, and one line without them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final, Literal

from archcaps.errors import InputError

__all__ = ["Extra", "installs", "needs"]

Extra = Literal["prove", "fleet", "spark", "rules"]

#: What each purpose imports, and the extra that brings it. The rules as SQL need the least of two extras.
_PACKAGES: Final[dict[Extra, tuple[tuple[str, ...], str]]] = {
    "prove": (("oxidd",), "prove"),
    "fleet": (("duckdb", "jinja2", "numpy"), "fleet"),
    "spark": (("jinja2", "numpy", "pyspark"), "spark"),
    "rules": (("numpy",), "fleet"),
}


def installs(package: str) -> str:
    """Return the command that installs a package which an extra brings; "" if none does."""
    extras = [extra for packages, extra in _PACKAGES.values() if package in packages]
    return f"pip install 'archcaps[{extras[0]}]'" if extras else ""


def needs(what: Extra, asker: str) -> None:
    """Refuse to go on without the packages of an extra; `asker` is the command, or its option, that needs them.

    Raises:
        InputError: one of them is not installed; it says which, and what installs it.
    """
    packages, extra = _PACKAGES[what]
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        which = f"{', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed"
        raise InputError(f"needs {which}: pip install 'archcaps[{extra}]'", asker)
