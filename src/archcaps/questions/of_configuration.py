"""The answer of `check` for a guest that comes from a VMM's configuration: with what its expansion says."""

from __future__ import annotations

from msgspec.structs import replace

from archcaps.guest_cpu.shown import ShownGuest
from archcaps.questions.results import Assumption, CheckResult, Notice

__all__ = ["configuration_says", "features_said", "with_configuration"]


def configuration_says(shown: ShownGuest) -> tuple[list[Notice], list[Assumption]]:
    """Return the notices and assumptions of how the guest's CPU came about; that it does not start is the first one."""
    notices = [Notice("configuration", text) for text in (*shown.notices, *filter(None, [shown.undecided]))]
    if shown.refused is not None:
        notices.insert(0, Notice("refused", f"this guest does not start on this host: {shown.refused}"))
    return notices, [Assumption(text) for text in shown.assumptions]


def features_said(shown: ShownGuest) -> str:
    """Return a sentence on what its verdicts do not speak of: that it does not start, lacks features, or may; or ''."""
    if shown.refused is not None:
        return f"As it is configured the guest does not start on this host: {shown.refused}."
    lost = [name for name, value in shown.features.items() if value is False]
    unknown = sum(value is None for value in shown.features.values())
    parts = [f"it starts without {', '.join(lost)}"] if lost else []
    parts += [f"not known of {unknown} {'feature' if unknown == 1 else 'features'}"] if unknown else []
    parts += [f"not known of {shown.not_followed}"] if shown.not_followed else []
    return f"Of the rest of its CPU: {'; '.join(parts)}." if parts else ""


def with_configuration(result: CheckResult, shown: ShownGuest) -> CheckResult:
    """Return the answer with the assumptions and notices of how the guest's CPU came about.

    A guest that does not start is a notice, the first one; and a notice makes the exit code 1 where it was 0.
    """
    notices, assumptions = configuration_says(shown)
    return replace(
        result,
        notices=[*notices, *result.notices],
        assumptions=[*result.assumptions, *assumptions],
        exit_code=1 if notices and result.exit_code == 0 else result.exit_code,
    )
