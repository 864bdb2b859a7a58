"""What else IA32_ARCH_CAPABILITIES speaks of, for a person at a terminal: in short, as a table, and explained."""

from __future__ import annotations

from archcaps.questions.results import NO_SUCH_FILE, FurtherVerdict
from archcaps.report.page import Page, coloured, inputs, shown_bits

__all__ = ["further_explained", "further_lines", "further_table"]

#: The order in which a short report names them: what leaks, what is not known, what is not so.
_ORDER = (
    "exposed", "undecided", "false-immunity", "broken-promise", "withheld", "false-alarm", "needless-work",
)  # fmt: skip
_HEADINGS = (
    ("the silicon is affected", "the silicon is not affected", "is the silicon affected? not known"),
    ("the host prevents it", "the host does not prevent it", "does the host prevent it? not known"),
    ("the guest's mitigation works here", "no mitigation of the guest's works here", "does it work? not known"),
)


def further_lines(verdicts: list[FurtherVerdict], page: Page) -> list[str]:
    """Return in short what is not told truthfully and safe; nothing where all is."""
    found: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.exposed:
            word = "exposed"
        elif verdict.undecided:
            word = "undecided"
        elif verdict.truth.value not in ("truthful", "unsaid"):
            word = str(verdict.truth)
        else:
            continue
        found.setdefault(word, []).append(verdict.subject)
    if not found:
        return []
    said = [f"{word} ({', '.join(found[word])})" for word in _ORDER if word in found]
    return page.fill("further (--further explains): " + "; ".join(said))


def further_table(verdicts: list[FurtherVerdict], page: Page) -> list[str]:
    """Return a line for each: its subject, truth and safety."""
    lines = [""]
    for verdict in verdicts:
        truth, safety = verdict.truth.value or "undecided", verdict.safety.value or "undecided"
        lines.append(
            f"{verdict.subject:26} {coloured(truth, page.style, 15)} {coloured(safety, page.style, 9)}".rstrip()
        )
    return lines


def _acts(verdict: FurtherVerdict) -> bool:
    return "mitigated" in verdict.claim.possible


def further_explained(verdict: FurtherVerdict, page: Page) -> list[str]:
    """Return why: what is shown, what the kernel says, and what silicon, host and guest do."""
    truth, safety = verdict.truth.value or "undecided", verdict.safety.value or "undecided"
    who = "" if verdict.responsible.value in (None, "nobody") else f"; responsible: {verdict.responsible}"
    lines = [page.style(line, bold=True) for line in page.fill(f"{verdict.subject}: {truth}, {safety}{who}")]
    lines += page.fill(f"shown to it: {shown_bits(verdict.shown)}", "  ", "      ")
    texts = [text if text == NO_SUCH_FILE else f'"{text}"' for text in verdict.concludes.possible[:3]]
    more = len(verdict.concludes.possible) - len(texts)
    lines += page.fill("its kernel says " + " or ".join(texts) + (f" or {more} others" if more else ""), "  ", "      ")
    values = (verdict.affected, verdict.prevented, verdict.works)
    roots = {line.name for line in verdict.why}
    by_root = {line.name.rpartition(".")[2].partition("[")[0]: line for line in verdict.why}
    for value, (holds, fails, unknown), name in zip(
        values, _HEADINGS, ("further_affected", "host_prevents", "mitigation_works"), strict=True
    ):
        # What could not be otherwise is not said: most hosts prevent nothing, and only what is done can work.
        if (name == "host_prevents" and value is False) or (name == "mitigation_works" and not _acts(verdict)):
            continue
        said = {True: holds, False: fails, None: unknown}[value]
        line = by_root.get(name)
        found = inputs(line, roots, page) if line is not None else ""
        lines += page.fill(f"{said}: {found}" if found else said, "  ", "      ")
    return lines
