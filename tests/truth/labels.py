"""What a scenario may say. A word that nothing here knows would be looked at by nobody, and a label that takes every answer proves nothing."""

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
FINDINGS = HERE.parents[1] / "bench/model/src/finding"

KEYS = {"title", "source", "kind", "told_by", "topology", "hosts", "link", "bridge", "route", "forward", "device", "nft", "prepare", "wire",
        "names", "background", "cpu_percent", "command", "from", "serve", "stop_after_s", "tools", "verify", "verify_after", "heal", "expect"}
EXPECT_KEYS = {"outcome", "cause", "says", "advice", "never", "never_says", "allowed", "or_error"}
HEAL_KEYS = {"code", "says", "prepare", "repair_wires", "unthrottle", "outcome", "verify"}
PROOF_KEYS = {"title", "in"}
PROOFS = {
    "ping": {"ping", "count", "interval_ms", "size", "loss_percent", "rtt_ms"},
    "iperf3": {"iperf3", "at", "time_s", "reverse", "parallel", "udp_mbit", "tcp_mbit", "length", "mbit", "lost_percent", "retransmits", "grew"},
    "run": {"run", "exit", "says", "number", "words", "echo"},
}
# At least one of these bounds what such a proof saw; a ping without any must lose nothing.
BOUNDS = {"ping": {"ping"}, "iperf3": {"mbit", "lost_percent", "retransmits", "grew"}, "run": {"exit", "says", "words"}}


def catalogue():
    """The codes that pathproof has findings for."""
    files = [FINDINGS / "catalogue.rs", *sorted((FINDINGS / "catalogue").glob("*.rs"))]
    return {code for file in files for code in re.findall(r'\bentry\(\s*"([A-Z0-9-]+)"', file.read_text())}


def not_yet():
    """The codes that README.md says scenarios expect although there is no such finding yet."""
    _, _, section = (HERE / "README.md").read_text().partition("\n## Codes that scenarios expect and the catalogue does not have yet\n")
    rows = re.findall(r"^\| (`[A-Z0-9-]+`(?:, `[A-Z0-9-]+`)*) \|", section, re.M)
    return {code for row in rows for code in re.findall(r"`([A-Z0-9-]+)`", row)}


# A fault of a wire: which way, what, and how much.
FAULT = re.compile(r"(?:out|in|both)\.(\w+)=-?[\d.]+")


def faults():
    """What a wire can be asked for."""
    return set(re.findall(r'^ +KEY\((\w+), "', (HERE / "wire.c").read_text(), re.M))


def faults_of(scenario):
    """What its wires are asked for, one after the other."""
    topology, repaired = scenario.get("topology", {}), scenario.get("heal", {}).get("repair_wires", [])
    wires = [topology.get("faults", []), *topology.get("wires", []), *(wire.get("faults", []) for wire in scenario.get("wire", []))]
    return [fault for wire in wires for fault in wire] + (repaired if isinstance(repaired, list) else [])


def listed(value):
    return value if isinstance(value, list) else [value]


def proofs_of(scenario):
    return [*scenario.get("verify", []), *scenario.get("verify_after", []), *scenario.get("heal", {}).get("verify", [])]


def problems(scenario, known, expected):
    """What is wrong with a scenario as it stands in its file, a line each; `known` and `expected` are the two functions above."""
    label, heal = scenario["expect"], scenario.get("heal", {})
    wrong = [f"{where} has an unknown key {key}"
             for where, words, keys in (("it", scenario, KEYS), ("[expect]", label, EXPECT_KEYS), ("[heal]", heal, HEAL_KEYS))
             for key in sorted(set(words) - keys)]
    for proof in proofs_of(scenario):
        ways = [way for way in PROOFS if way in proof]
        if len(ways) != 1:
            wrong.append(f"a proof is one of {', '.join(PROOFS)}: {proof}")
            continue
        wrong += [f"a proof by {ways[0]} has an unknown key {key}" for key in sorted(set(proof) - PROOF_KEYS - PROOFS[ways[0]])]
        if not BOUNDS[ways[0]] & set(proof):
            wrong.append(f"a proof by {ways[0]} bounds nothing: {proof}")
    if not scenario.get("verify"):
        wrong.append("nothing proves the label")
    outcomes, causes = listed(label.get("outcome", [])), label.get("cause", [])
    wrong += [f"there is no outcome {word}" for word in outcomes if word not in ("fit", "not-fit", "cannot-tell", "none")]
    # An outcome that may be either says nothing unless a cause must be named.
    if not outcomes or {"fit", "not-fit"} <= set(outcomes) and not causes:
        wrong.append("the label takes every outcome and asks for no cause")
    wrong += [f"no finding is called {code}" for code in causes if code not in known | expected]
    if causes and not set(causes) & known:
        wrong.append("no finding that there is would do as the cause")
    # A code that no finding has forbids and allows nothing.
    codes = [*label.get("never", []), *label.get("allowed", []), *([heal.get("code")] if heal else [])]
    wrong += [f"no finding is called {code}" for code in codes if code not in known]
    wrong += [f"{code} is both a cause and forbidden" for code in causes if code in label.get("never", [])]
    return wrong
