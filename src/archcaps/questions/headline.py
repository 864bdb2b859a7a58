"""The headline: the answer in five seconds."""

from __future__ import annotations

from archcaps.questions.results import Verdict

__all__ = ["WORDS", "headline"]

#: Each truth in a few words, about what the guest believes.
WORDS = {
    "false-immunity": "the guest believes it is not affected, and it is",
    "broken-promise": "the guest believes VERW clears its CPU buffers, and it does not",
    "needless-work": "the guest clears its CPU buffers for nothing",
    "false-alarm": "the guest calls itself vulnerable, and it is not",
    "withheld": "VERW would help, but the guest is not shown so and does not run it",
    "truthful": "the guest knows that it is vulnerable",
}
_ORDER = ("false-immunity", "broken-promise", "withheld", "false-alarm", "needless-work")


def headline(verdicts: list[Verdict], *, disable_fb_clear: bool | None) -> str:
    """Return one sentence or two: the worst that was found, what is behind it, who is responsible."""
    exposed = [verdict for verdict in verdicts if verdict.exposed]
    wrong = [verdict for verdict in verdicts if verdict.wrong]
    undecided = [verdict for verdict in verdicts if verdict.undecided]
    if exposed:
        parts = [f"EXPOSED ({_names(exposed)})", *_by_truth(exposed)]
    elif undecided:
        parts = [f"UNDECIDED ({_names(undecided)})", "facts are missing", *_by_truth(wrong)]
    elif wrong:
        parts = [f"NOT THE TRUTH, but nothing leaks ({_names(wrong)})", *_by_truth(wrong)]
    else:
        return "TRUTHFUL AND SAFE: the guest is told the truth, and nothing leaks."
    text = f"{parts[0]}: {'; '.join(parts[1:])}."
    concerned = exposed or wrong
    if disable_fb_clear and any(verdict.truth.value == "broken-promise" for verdict in concerned):
        text += " KVM sets FB_CLEAR_DIS while it runs."
    responsible = list(dict.fromkeys(str(verdict.responsible) for verdict in concerned))
    return f"{text} Responsible: {', '.join(responsible)}." if responsible else text


def _names(verdicts: list[Verdict]) -> str:
    return ", ".join(verdict.vulnerability for verdict in verdicts)


def _by_truth(verdicts: list[Verdict]) -> list[str]:
    present = {str(verdict.truth.value) for verdict in verdicts}
    ordered = [truth for truth in _ORDER if truth in present] + (["truthful"] if "truthful" in present else [])
    return [f"{truth}: {WORDS[truth]}" for truth in ordered]
