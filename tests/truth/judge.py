"""Compares what pathproof said with a scenario's label. Knows the result document, and nothing of networks."""

import re
from dataclasses import dataclass, field

BUSY = re.compile(r"\bbusy\b")
# A step that the time of the whole run ended: nothing is known of the path, for or against (src/budget.rs).
CUT = re.compile(r"\bthe time of the whole run was up\b")
# What a run says of itself, not of the path.
OF_THE_RUN = ["RUN-CUT", "CLOCK-COARSE", "PEER-SAYS", "SAMPLES-SATURATED"]
NOT_FIT = "not-fit"
FIT = "fit"


@dataclass
class Answer:
    """What one run of pathproof came to."""

    exit_code: int | None = None
    outcome: str = "no document"
    findings: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    """Verdicts that failed or could not be determined, as `subject: reason`."""
    error: str | None = None
    busy: bool = False
    """Cannot tell, and says that a host was busy meanwhile."""
    cut: bool = False
    """Cannot tell, and says that a host was busy or that the time of the run was up."""


@dataclass
class Score:
    """How an answer stands against the label."""

    verdict: bool = False
    cause: bool | None = None
    """None where the label names none."""
    advice: bool | None = None
    cause_code: str | None = None
    false_fit: bool = False
    accused: list = field(default_factory=list)
    """What a healthy network was accused of, and findings that the label forbids."""
    beside: list = field(default_factory=list)
    """Errors about a fault that its label neither names nor forbids: nobody said whether they are true."""
    why: list = field(default_factory=list)


def read(document, exit_code):
    """The answer that stands in a result document."""
    answer = Answer(exit_code=exit_code)
    if document is None:
        return answer
    answer.outcome = document.get("outcome") or "none"
    answer.findings = document.get("findings") or []
    verdicts = document.get("verdicts") or []
    told = [v for v in verdicts if v["outcome"] in ("fail", "inconclusive")]
    answer.failed = [f"{v['subject']}: {v['reason']}" for v in told]
    answer.error = (document.get("error") or {}).get("message")
    open_ended = answer.outcome == "cannot-tell" and bool(told)
    answer.busy = open_ended and all(BUSY.search(v["reason"]) for v in told)
    answer.cut = open_ended and all(BUSY.search(v["reason"]) or CUT.search(v["reason"]) for v in told)
    return answer


def text_of(finding):
    return " ".join(str(finding.get(key, "")) for key in ("evidence", "meaning", "next", "values"))


def typed(findings):
    """The commands of the findings' advice with the end at which each is typed, none twice. What makes them is `Commands` in
    bench/model/src/finding/commands.rs."""
    found = []
    for finding in findings:
        for end, commands in re.findall(r"On (this host|the peer): ((?:`[^`]+`(?:; )?)+)", finding["next"]):
            found += [(end, command) for command in re.findall(r"`([^`]+)`", commands)]
    return list(dict.fromkeys(found))


def advises(findings, words):
    """Whether a finding's advice has these words (a pattern)."""
    return any(re.search(words, finding["next"], re.I) for finding in findings)


def is_healthy(label):
    """Whether a label says that nothing is wrong with the network: what a busy or an odd host leaves open accuses nobody either."""
    outcomes = label["outcome"] if isinstance(label["outcome"], list) else [label["outcome"]]
    return FIT in outcomes and NOT_FIT not in outcomes and "cause" not in label


def score(label, answer):
    """Holds an answer against [expect]: outcome, cause, says, advice, never, never_says, allowed."""
    s = Score()
    outcomes = label["outcome"] if isinstance(label["outcome"], list) else [label["outcome"]]
    s.verdict = answer.outcome in outcomes or (FIT in outcomes and answer.busy)
    if not s.verdict:
        s.why.append(f"{answer.outcome} instead of {' or '.join(outcomes)}")
    s.false_fit = answer.outcome == FIT and FIT not in outcomes
    codes = label.get("cause", [])
    if codes or label.get("or_error"):
        hits = [f for f in answer.findings if f["code"] in codes]
        said_aloud = label.get("or_error") and re.search(label["or_error"], answer.error or "", re.I)
        named = [f for f in hits if all(re.search(word, text_of(f), re.I) for word in label.get("says", []))]
        s.cause = bool(named or said_aloud)
        s.cause_code = named[0]["code"] if named else "error" if said_aloud else None
        if hits and not named:
            s.why.append(f"{hits[0]['code']} does not say {label['says']}")
        elif not s.cause:
            s.why.append(f"no {' or '.join(codes) or 'word of it in the error'}")
        if label.get("advice") and not said_aloud:
            words = label["advice"]
            s.advice = any(all(re.search(word, text_of(f), re.I) for word in words) for f in named)
            if named and not s.advice:
                s.why.append(f"{s.cause_code} does not advise {words}")
    present = [f for f in answer.findings if f["code"] not in OF_THE_RUN + label.get("allowed", []) + codes]
    forbidden = label.get("never", [])
    s.accused = [f["code"] for f in present if f["code"] in forbidden]
    s.accused += [f"{f['code']} says {words!r}" for f in answer.findings for words in label.get("never_says", [])
                  if re.search(words, text_of(f), re.I)]
    if is_healthy(label):
        s.accused += [f["code"] for f in present if f["severity"] != "info" and f["code"] not in forbidden]
        if answer.outcome == NOT_FIT:
            s.accused += ["not-fit"]
    else:
        s.beside = sorted({f["code"] for f in present if f["severity"] == "error"} - set(forbidden))
    s.accused = sorted(set(s.accused))
    return s
