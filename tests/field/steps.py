"""The steps of a field case: what is asked of pathproof, in turn, and what must and must not come out. Format: README.md."""

import json
import os
import re
import subprocess
import time

import judge
import lab
import verify

LIMIT_S = 100
CASE_KEYS = {"title", "source", "right", "topology", "hosts", "link", "bridge", "route", "forward", "device", "nft", "prepare", "wire",
             "names", "background", "serve", "tools", "verify", "step"}
STEP_KEYS = {"title", "pathproof", "shell", "from", "before", "serve", "stop", "carry_out", "during", "times", "key", "exit", "outcome",
             "finds", "says", "never", "never_says", "documents", "valid", "within_s", "proof"}


class BadCase(Exception):
    """A case that says what nothing here understands: a word that is never looked at would hold whatever comes out."""


def check(case):
    for unknown in set(case) - CASE_KEYS:
        raise BadCase(f"{case.get('title')}: unknown key {unknown}")
    for step in case["step"]:
        for unknown in set(step) - STEP_KEYS:
            raise BadCase(f"{case['title']}: unknown key {unknown} in a step")
        if ("pathproof" in step) + ("shell" in step) != 1:
            raise BadCase(f"{case['title']}: a step is either pathproof or shell")


def name(step):
    return step.get("pathproof") or step["shell"]


def listed(value):
    return value if isinstance(value, list) else [value]


class Asked:
    """What has been asked of one network so far: its servers, and the findings of the last step, whose advice the next may carry out."""

    def __init__(self, network, binary, directory):
        self.network, self.binary, self.directory = network, binary, directory
        self.findings = []

    def take(self, step):
        """Carries out a step: what is wrong with the answer, and all that was printed."""
        self.network.prepare(step.get("before", []))
        for host in listed(step.get("stop", [])):
            self.network.stop_serving(host)
        for server in listed(step.get("serve", [])):
            self.network.serve(self.binary, server["host"], server.get("arguments", []))
        wrong = self.carry_out(step) if step.get("carry_out") else []
        if step.get("before") or step.get("carry_out"):
            self.network.settle()
        text = ""
        for time_number in range(step.get("times", 1)):
            ill, said = self.ask(step)
            text += said
            wrong += [f"{why} (time {time_number + 1})" if step.get("times", 1) > 1 else why for why in ill]
        verify.prove(self.network, step.get("proof", []))
        return wrong, text

    def carry_out(self, step):
        """Types what the last step's findings advise, at the ends that they name."""
        commands = judge.typed(self.findings)
        ends = {"this host": step.get("from", "a"), "the peer": "b"}
        self.network.prepare([{"host": ends[end], "command": f"$ {command}", "codes": [0, 2]} for end, command in commands])
        return [] if commands else ["no finding of the step before says what to type"]

    def ask(self, step):
        """One run of the step's command. A busy host leaves open what it is about: it is asked once more, then that counts."""
        for _ in range(2):
            code, text, documents, elapsed_s = self.run(step)
            answer = judge.read(documents[0] if documents else None, code)
            if not answer.busy:
                break
        self.findings = answer.findings
        shown = f"$ {name(step)}\n{text}exit {code}\n"
        if "pathproof" in step:
            shown += json.dumps(answer.findings, indent=1) + "\n"
        return self.compare(step, answer, code, text, documents, elapsed_s), shown

    def run(self, step):
        environment = {**os.environ, "PATHPROOF_KEY": step.get("key", lab.KEY)}
        names = [self.directory / file for file in step.get("documents", [])]
        if "pathproof" in step:
            names = [self.directory / "result.json"]
            words = [self.binary, *lab.netlab.shlex.split(step["pathproof"]), "-o", str(names[0])]
        else:
            words = self.network.words(step["shell"])
        for file in names:
            file.unlink(missing_ok=True)
        beside = [self.network.start(work["host"], self.network.words(work["command"]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                  for work in step.get("during", [])]
        began = time.monotonic()
        process = self.network.start(step.get("from", "a"), words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
        try:
            text, _ = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            text, _ = process.communicate(timeout=10)
        elapsed_s = time.monotonic() - began
        for work in beside:
            work.terminate()
            work.wait()
        return process.returncode, text, [self.read(file) for file in names], elapsed_s

    @staticmethod
    def read(file):
        try:
            return json.loads(file.read_text())
        except (OSError, ValueError):
            return None

    @staticmethod
    def compare(step, answer, code, text, documents, elapsed_s):
        wrong = []
        present = [f["code"] for f in answer.findings]
        all_text = text + " ".join(judge.text_of(f) for f in answer.findings) + " ".join(answer.failed) + (answer.error or "")
        # A report breaks its lines where they end, the patterns do not.
        all_text = re.sub(r"\s+", " ", all_text)
        if "exit" in step and code not in listed(step["exit"]):
            wrong.append(f"exit {code} instead of {' or '.join(map(str, listed(step['exit'])))}")
        if "outcome" in step and answer.outcome not in listed(step["outcome"]):
            wrong.append(f"{answer.outcome} instead of {' or '.join(listed(step['outcome']))}: "
                         f"{'; '.join(answer.failed) or ', '.join(present) or answer.error}")
        for codes in step.get("finds", []):
            if not any(one in present for one in codes.split("|")):
                wrong.append(f"no {codes}, but {', '.join(present) or 'nothing'}")
        wrong += [f"does not say {words!r}" for words in step.get("says", []) if not re.search(words, all_text, re.I)]
        wrong += [f"{one}, which is not true" for one in step.get("never", []) if one in present]
        wrong += [f"says {words!r}, which is not true" for words in step.get("never_says", []) if re.search(words, all_text, re.I)]
        for file, document in zip(step.get("documents", []), documents):
            if document is None:
                wrong.append(f"{file} is no document")
            else:
                wrong += [f"{file}: {key} is {document.get(key)!r}" for key in step.get("valid", []) if not document.get(key)]
        if "within_s" in step and elapsed_s > step["within_s"]:
            wrong.append(f"took {elapsed_s:.0f} s, more than {step['within_s']}")
        return wrong
