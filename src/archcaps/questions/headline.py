"""The headline: the answer in five seconds."""

from __future__ import annotations

from archcaps.questions.results import Verdict

__all__ = ["headline"]

#: Each truth in a few words, about what the guest believes; the worst first.
_WORDS = {
    "false-immunity": "the guest believes it is not affected, and it is",
    "broken-promise": "the guest believes VERW clears its CPU buffers, and it does not",
    "withheld": "VERW would help, but the guest is not shown so and does not run it",
    "false-alarm": "the guest calls itself vulnerable, and it is not",
    "needless-work": "the guest clears its CPU buffers for nothing",
    "truthful": "the guest is told so, and can do nothing about it",
}


def headline(verdicts: list[Verdict], *, disable_fb_clear: bool | None) -> str:
    """Return a few sentences: the worst that was found, what is behind it, and who is responsible."""
    exposed = [verdict for verdict in verdicts if verdict.exposed]
    open_hosts = [verdict for verdict in verdicts if verdict.exposes_host]
    undecided = [verdict for verdict in verdicts if verdict.undecided]
    wrong = [verdict for verdict in verdicts if verdict.wrong]
    if exposed:
        start, concerned = f"EXPOSED: data can leak in this guest ({_names(exposed)})", exposed
    elif open_hosts:
        start, concerned = f"EXPOSED: data of the host can leak to this guest ({_names(open_hosts)})", wrong
    elif undecided:
        start, concerned = f"UNDECIDED: facts are missing for {_names(undecided)}", wrong
    elif wrong:
        start, concerned = f"NOT TOLD THE TRUTH, but nothing leaks ({_names(wrong)})", wrong
    else:
        return "TOLD THE TRUTH, AND SAFE."
    sentences = [start]
    for truth, words in _WORDS.items():
        found = [verdict for verdict in concerned if verdict.truth.value == truth]
        if found:
            sentences.append(f"{words[0].upper()}{words[1:]} ({truth}: {_names(found)})")
    if disable_fb_clear and any(verdict.truth.value == "broken-promise" for verdict in concerned):
        sentences.append("KVM sets FB_CLEAR_DIS while it runs")
    if exposed and open_hosts:
        sentences.append(f"Data of the host can leak to this guest too ({_names(open_hosts)})")
    found_responsible = [verdict.responsible for verdict in concerned if verdict.wrong or verdict.exposed]
    found_responsible += [verdict.host_responsible for verdict in open_hosts]
    responsible = list(dict.fromkeys(map(str, found_responsible)))
    if responsible:
        sentences.append(f"Responsible: {', '.join(responsible)}")
    return ". ".join(sentences) + "."


def _names(verdicts: list[Verdict]) -> str:
    return ", ".join(verdict.vulnerability for verdict in verdicts)
