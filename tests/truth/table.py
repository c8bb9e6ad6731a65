"""Rows, totals and pages of scripts/truth."""

import json
import os
import subprocess
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

import judge

VERDICTS_SHARE, CAUSES_SHARE = 0.95, 0.90


@dataclass
class Row:
    """One scenario in one run. What is in a table.json."""

    name: str
    title: str
    kind: str
    told_by: str
    expected: str
    causes: list
    healthy: bool
    state: str = ""
    """judged, unproved (the label does not hold here) or skipped."""
    said: str = ""
    verdict: bool | None = None
    cause: bool | None = None
    """None where the label names none."""
    cause_code: str | None = None
    advice: bool | None = None
    healed: bool | None = None
    """Whether the path was fit once the advice was carried out; None where that was not tried."""
    heal_open: str = ""
    """Why it is not known, where it was tried."""
    false_fit: bool = False
    accused: list = field(default_factory=list)
    beside: list = field(default_factory=list)
    """Errors that the label of a fault neither names nor forbids."""
    why: list = field(default_factory=list)
    findings: list = field(default_factory=list)
    verdicts: list = field(default_factory=list)
    error: str | None = None
    elapsed_s: float = 0.0
    round: int = 1
    """Of which round it is, where everything was run several times."""

    @classmethod
    def of(cls, name, scenario):
        expect = scenario["expect"]
        outcome = expect["outcome"]
        expected = outcome if isinstance(outcome, str) else "/".join(outcome)
        return cls(name, scenario["title"], scenario["kind"], scenario.get("told_by", ""), expected,
                   expect.get("cause", []), judge.is_healthy(expect))

    def judged(self, score, answer, elapsed_s):
        self.state, self.elapsed_s = "judged", round(elapsed_s, 1)
        self.said = answer.outcome + (" (busy)" if answer.busy else "")
        self.verdict, self.cause, self.cause_code, self.advice = score.verdict, score.cause, score.cause_code, score.advice
        self.false_fit, self.accused, self.beside = score.false_fit, score.accused, score.beside
        self.why = score.why + ([f"accused of {', '.join(score.accused)}"] if score.accused else [])
        self.findings = [{k: f[k] for k in ("code", "severity", "evidence")} for f in answer.findings]
        self.verdicts, self.error = answer.failed, answer.error

    def heals(self, ill):
        """`ill`: why the path is not healed, empty where it is, None where a busy host left that open."""
        if ill is None:
            self.heal_open = "busy"
        else:
            self.healed = not ill
            self.why += ill

    def right(self):
        told = self.state == "judged" and self.verdict and self.cause is not False
        return told and self.healed is not False and not self.accused

    def cells(self):
        """expected, said, verdict, cause, advice, false findings."""
        if self.state != "judged":
            return [self.expected, self.state, "-", "-", "-", "-"]
        word = {True: "yes", False: "NO", None: "-"}
        return [self.expected, self.said, "FALSE FIT" if self.false_fit else word[self.verdict],
                self.cause_code if self.cause else word[self.cause], word[self.advice], ", ".join(self.accused) or "-"]

    def line(self):
        expected, said, verdict, cause, advice, accused = self.cells()
        text = f"{self.name:34} {expected:16.16} {said:18.18} verdict {verdict:9} cause {cause:20} advice {advice:4}"
        text += f" false {accused}" + {True: " healed", False: " NOT HEALED", None: ""}[self.healed]
        text += f" heal not tried: {self.heal_open}" if self.heal_open else ""
        text += f"  ({self.elapsed_s:.0f} s)" if self.elapsed_s else ""
        return text + "".join(f"\n    {reason}" for reason in self.why)


def remaining(rows):
    """The names and reasons of all that is not right or was not judged, a line each."""
    def reasons(row):
        if row.state == "judged" and row.right():
            return [f"heal not tried: {row.heal_open}"] if row.heal_open else []
        state = [] if row.state == "judged" else [row.state]
        return state + ([] if row.healed is not False else ["NOT HEALED"]) + row.why
    left = [(row, reasons(row)) for row in rows]
    return [f"NOT RIGHT     {row.name}: {'; '.join(why)}" for row, why in left if why]


class Total:
    """What a whole run comes to."""

    def __init__(self, rows):
        self.judged = [row for row in rows if row.state == "judged"]
        self.verdicts = sum(row.verdict for row in self.judged)
        with_cause = [row for row in self.judged if row.cause is not None]
        self.causes, self.causes_of = sum(row.cause for row in with_cause), len(with_cause)
        with_advice = [row for row in self.judged if row.advice is not None]
        self.advice, self.advice_of = sum(row.advice for row in with_advice), len(with_advice)
        tried = [row for row in self.judged if row.healed is not None]
        self.healed, self.healed_of = sum(row.healed for row in tried), len(tried)
        self.not_healed = [row.name for row in tried if not row.healed]
        self.false_fits = [row.name for row in self.judged if row.false_fit]
        self.accused = [row.name for row in self.judged if row.healthy and row.accused]
        self.false_findings = [row.name for row in self.judged if not row.healthy and row.accused]
        self.beside = [f"{row.name} ({', '.join(row.beside)})" for row in self.judged if row.beside]
        self.heals_open = [row.name for row in self.judged if row.heal_open]
        self.states = Counter(row.state for row in rows)

    def failings(self, required):
        """What is below the thresholds or must not be at all, as phrases. `required`: what was skipped has failed (PATHPROOF_REQUIRE_LAB)."""
        none_of = [("label did not hold", self.states["unproved"]), ("skipped", self.states["skipped"] if required else 0),
                   ("false fit", len(self.false_fits)), ("accused", len(self.accused)), ("wrong cause", len(self.false_findings)),
                   ("not healed", len(self.not_healed))]
        found = [f"{name}: {count}" for name, count in none_of if count]
        shares = [("verdicts", self.verdicts, len(self.judged), VERDICTS_SHARE), ("causes", self.causes, self.causes_of, CAUSES_SHARE)]
        found += [f"{name}: {part} of {whole}" for name, part, whole, share in shares if part < share * whole]
        return found if self.judged else ["nothing was judged", *found]

    def holds(self, required):
        """Whether all of it was counted, every threshold is kept, and every advice that was carried out heals."""
        return not self.failings(required)

    def text(self, required):
        def share(part, whole):
            return f"{part} of {whole} ({100 * part / whole:.0f} %)" if whole else "none"

        def names(which):
            return f": {', '.join(which)}" if which else ""

        healthy = [row for row in self.judged if row.healthy]
        unproved, skipped = self.states["unproved"], self.states["skipped"]
        return "\n".join([
            f"scenarios     {len(self.judged)} judged ({len(healthy)} healthy), {unproved} whose label did not hold, "
            f"{skipped} skipped",
            f"verdicts      {share(self.verdicts, len(self.judged))}, at least 95 %",
            f"  healthy     {share(sum(row.verdict for row in healthy), len(healthy))}",
            f"  faulty      {share(self.verdicts - sum(row.verdict for row in healthy), len(self.judged) - len(healthy))}",
            f"causes        {share(self.causes, self.causes_of)}, at least 90 %",
            f"advice        {share(self.advice, self.advice_of)}",
            f"healed        {share(self.healed, self.healed_of)} by carrying out the advice, all of them{names(self.not_healed)}, "
            f"{len(self.heals_open)} not tried: busy{names(self.heals_open)}",
            f"false fits    {len(self.false_fits)}, none allowed{names(self.false_fits)}",
            f"accusations   {len(self.accused)} healthy accused, none allowed{names(self.accused)}",
            f"wrong causes  {len(self.false_findings)} faults with a finding that is not true, none allowed{names(self.false_findings)}",
            f"beside        {len(self.beside)} faults with an error that the label neither names nor forbids, for somebody to read{names(self.beside)}",
            f"NOT RIGHT ENOUGH: {'; '.join(self.failings(required))}" if self.failings(required) else "right",
        ])


def rounds(rows):
    """What each round by itself comes to: one that is right makes up for no other."""
    return {number: Total([row for row in rows if row.round == number]) for number in sorted({row.round for row in rows})}


def summary(rows, required):
    """The totals, each round by itself."""
    totals = rounds(rows)
    heads = {number: f"round {number} of {len(totals)}\n" if len(totals) > 1 else "" for number in totals}
    return "\n\n".join(heads[number] + total.text(required) for number, total in totals.items())


def kept(directory, rows):
    """The rows of a table that stands there already, but for those that were run now."""
    try:
        before = [Row(**record) for record in json.loads((directory / "table.json").read_text())]
    except (OSError, ValueError, TypeError):
        return []
    now = {row.name for row in rows}
    return [row for row in before if row.name not in now]


def write(directory, rows, required=False, binary=None):
    """table.json, and with a binary README.md; scenarios that were not run now keep the row that they have."""
    rows = sorted(rows + kept(directory, rows), key=lambda row: (row.name, row.round))
    (directory / "table.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    if binary:
        (directory / "README.md").write_text(page(rows, required, binary))


def page(rows, required, binary):
    """A table as a Markdown page."""
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    digest = subprocess.run(["sha256sum", binary], capture_output=True, text=True, check=False).stdout[:16]
    lines = ["# How often pathproof is right", "",
             f"`scripts/truth --all` on {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}: {version} (sha256 {digest}), "
             f"Linux {os.uname().release}, {os.cpu_count()} CPUs, "
             f"load average {os.getloadavg()[2]:.1f} over the last fifteen minutes.", "",
             "```", summary(rows, required), "```", "",
             "| scenario | about | expected | said | verdict | cause | advice | false findings |",
             "|---|---|---|---|---|---|---|---|"]
    lines += [f"| {row.name} | {row.title} | " + " | ".join(row.cells()) + " |" for row in rows]
    missing = [row for row in rows if row.state == "judged" and not row.right()]
    lines += ["", "## What would tell", "", "Scenarios that are not right, by the evidence that would make them so.", ""]
    for evidence in sorted({row.told_by for row in missing}):
        lines += [f"**{evidence or 'nothing more: healthy'}**", ""]
        lines += [f"- {row.name}: {'; '.join(row.why)}" for row in missing if row.told_by == evidence]
        lines.append("")
    left = [row for row in rows if row.state != "judged"]
    if left:
        lines += ["## Not counted", ""] + [f"- {row.name}: {row.state}: {'; '.join(row.why)}" for row in left]
    return "\n".join(lines).rstrip() + "\n"
