"""The headline: the answer in five seconds."""

from __future__ import annotations

from collections.abc import Iterable

from archcaps.questions.results import FurtherVerdict, Verdict

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


def headline(
    verdicts: list[Verdict], further: list[FurtherVerdict], *, disable_fb_clear: bool | None, strict: bool = False
) -> str:
    """Return a few sentences: the worst that was found, what is behind it, and who is responsible.

    `further` stands beside in a sentence of its own, unless `strict`: then it counts like the others.
    """
    exposed = [verdict for verdict in verdicts if verdict.exposed]
    open_hosts = [verdict for verdict in verdicts if verdict.exposes_host]
    undecided = [verdict for verdict in verdicts if verdict.undecided]
    wrong = [verdict for verdict in verdicts if verdict.wrong]
    open_too = [verdict for verdict in further if verdict.exposed and strict]
    undecided_too = [verdict for verdict in further if verdict.undecided and strict]
    wrong_too = [verdict for verdict in further if verdict.wrong and strict]
    beside = [verdict for verdict in further if verdict.exposed and not strict]
    more = f" Beside these: exposed ({_names([], beside)})." if beside else ""
    concerned = wrong
    if exposed or open_too:
        start = f"EXPOSED: data can leak in this guest ({_names(exposed, open_too)})"
        concerned = exposed
    elif open_hosts:
        start = f"EXPOSED: data of the host can leak to this guest ({_names(open_hosts)})"
    elif undecided or undecided_too:
        start = f"UNDECIDED: facts are missing for {_names(undecided, undecided_too)}"
    elif wrong or wrong_too:
        start = f"NOT TOLD THE TRUTH, but nothing leaks ({_names(wrong, wrong_too)})"
    else:
        silent = all(verdict.truth.value == "unsaid" for verdict in verdicts)
        return f"{'NOTHING IS SAID, AND IT IS SAFE' if silent else 'TOLD THE TRUTH, AND SAFE'}.{more}"
    sentences = [start]
    for truth, words in _WORDS.items():
        found = [verdict for verdict in concerned if verdict.truth.value == truth]
        if found:
            sentences.append(f"{words[0].upper()}{words[1:]} ({truth}: {_names(found)})")
    if disable_fb_clear and any(verdict.truth.value == "broken-promise" for verdict in concerned):
        sentences.append("KVM sets FB_CLEAR_DIS while it runs")
    if (exposed or open_too) and open_hosts:
        sentences.append(f"Data of the host can leak to this guest too ({_names(open_hosts)})")
    blame = [(str(one.responsible), one.vulnerability) for one in concerned if one.wrong or one.exposed]
    blame += [(str(one.host_responsible), f"{one.vulnerability} from the host") for one in open_hosts]
    blame += [(str(one.responsible), one.subject) for one in open_too or wrong_too]
    if blame:
        sentences.append(f"Responsible: {_responsible(blame)}")
    return ". ".join(sentences) + "." + more


def _responsible(blame: Iterable[tuple[str, str]]) -> str:
    """Return who is responsible; where that differs, each with what for."""
    of: dict[str, list[str]] = {}
    for who, what in blame:
        of.setdefault(who, []).append(what)
    return next(iter(of)) if len(of) == 1 else ", ".join(f"{who} ({', '.join(what)})" for who, what in of.items())


def _names(verdicts: list[Verdict], further: Iterable[FurtherVerdict] = ()) -> str:
    return ", ".join([verdict.vulnerability for verdict in verdicts] + [verdict.subject for verdict in further])
