"""Whether every scenario says what can be held against an answer: `python3 -m unittest -q test_labels` in this directory."""

import tomllib
import unittest

import judge
import labels

PROOF = {"title": "it passes", "in": "a", "ping": "10.9.0.2"}
KNOWN, EXPECTED = {"PATH-LOSS", "MTU-BLACKHOLE"}, {"PATH-GAPS"}


def problems(label, **others):
    return labels.problems({"verify": [PROOF], "expect": label, **others}, KNOWN, EXPECTED)


class Scenarios(unittest.TestCase):
    def test_each_can_be_held_against_an_answer(self):
        known, expected = labels.catalogue(), labels.not_yet()
        self.assertGreater(len(known), 150)
        wrong, used, faults, asked = [], set(), labels.faults(), set()
        paths = sorted((labels.HERE / "scenarios").glob("*.toml"))
        for path in paths:
            scenario = tomllib.loads(path.read_text())
            wrong += [f"{path.stem}: {problem}" for problem in labels.problems(scenario, known, expected)]
            used |= set(scenario["expect"].get("cause", []))
            for fault in labels.faults_of(scenario):
                key = labels.FAULT.fullmatch(fault)
                if not key or key[1] not in faults:
                    wrong.append(f"{path.stem}: no wire has the fault {fault}")
                else:
                    asked.add(key[1])
            # Its name says in a table what it is.
            healthy = judge.is_healthy(scenario["expect"])
            if path.stem.startswith("healthy-") and not healthy:
                wrong.append(f"{path.stem}: what it is accused of would not count")
        self.assertEqual(wrong, [])
        self.assertGreater(len(paths), 200)
        self.assertEqual(expected & known, set(), "there are such findings now (README.md)")
        self.assertEqual(expected - used, set(), "no scenario expects these any more (README.md)")
        self.assertEqual(faults - asked, set(), "no scenario proves that a wire does this (wire.c)")


class Problems(unittest.TestCase):
    def test_what_is_as_it_must_be(self):
        for label in ({"outcome": "fit"}, {"outcome": ["fit", "cannot-tell"], "allowed": ["PATH-LOSS"]},
                      {"outcome": ["fit", "not-fit"], "cause": ["PATH-LOSS", "PATH-GAPS"]}, {"outcome": "not-fit", "never": ["PATH-LOSS"]}):
            self.assertEqual(problems(label), [], label)

    def test_each_by_itself(self):
        for label in ({"outcome": "fit", "nevver": []}, {"outcome": "unfit"}, {"outcome": ["fit", "not-fit", "cannot-tell"]}, {},
                      {"outcome": "fit", "never": ["PATH-GAPS"]}, {"outcome": "fit", "allowed": ["PATH-LOST"]},
                      {"outcome": "not-fit", "cause": ["PATH-GAPS"]}, {"outcome": "not-fit", "cause": ["PATH-LOSS", "PATH-LOST"]},
                      {"outcome": "not-fit", "cause": ["PATH-LOSS"], "never": ["PATH-LOSS"]}):
            self.assertEqual(len(problems(label)), 1, label)

    def test_proofs_and_what_else_stands_there(self):
        fit = {"outcome": "fit"}
        for others in ({"verify": []}, {"verrify_after": []}, {"heal": {"code": "PATH-LOST"}}, {"heal": {"code": "PATH-LOSS", "sais": []}},
                       {"verify": [{"in": "a", "run": "true"}]}, {"verify": [{**PROOF, "mbit": [1, 2]}]}, {"verify": [{"in": "a"}]},
                       {"verify_after": [{"in": "a", "at": "b", "iperf3": "10.9.0.2"}]}):
            self.assertEqual(len(problems(fit, **others)), 1, others)


class Faults(unittest.TestCase):
    def test_of_every_place_where_a_wire_is_asked_for_them(self):
        scenario = {"topology": {"faults": ["out.loss=0.1"], "wires": [[], ["both.delay_ms=5"]]}, "wire": [{"faults": ["in.set_dscp=-1"]}],
                    "heal": {"repair_wires": ["both.queue_ms=20"]}}
        self.assertEqual(labels.faults_of(scenario), ["out.loss=0.1", "both.delay_ms=5", "in.set_dscp=-1", "both.queue_ms=20"])
        self.assertEqual(labels.faults_of({"heal": {"repair_wires": True}}), [])
        self.assertLessEqual({labels.FAULT.fullmatch(fault)[1] for fault in labels.faults_of(scenario)}, labels.faults())
        for wrong in ("loss=0.1", "up.loss=0.1", "out.loss", "out.loss=much"):
            self.assertIsNone(labels.FAULT.fullmatch(wrong), wrong)


class Scores(unittest.TestCase):
    def accused(self, outcome, finding):
        answer = judge.Answer(outcome="fit", findings=[{"code": "MTU-NICS-DIFFER", "severity": "warning", "evidence": "", **finding}])
        return judge.score({"outcome": outcome, "allowed": ["PATH-LOSS"]}, answer).accused

    def test_one_that_may_be_open_is_accused_like_any_other(self):
        for outcome in ("fit", ["fit", "cannot-tell"]):
            self.assertEqual(self.accused(outcome, {}), ["MTU-NICS-DIFFER"])
            self.assertEqual(self.accused(outcome, {"severity": "info"}), [])
            self.assertEqual(self.accused(outcome, {"code": "PATH-LOSS"}), [])
        # One that may be not fit as well is a fault, whose findings are its own.
        self.assertEqual(self.accused(["fit", "not-fit"], {}), [])

    def test_errors_that_the_label_of_a_fault_does_not_speak_of(self):
        label = {"outcome": "not-fit", "cause": ["LINK-FLAPS"], "never": ["MTU-BLACKHOLE"], "allowed": ["TCP-STALL"]}
        found = [{"code": code, "severity": severity, "evidence": ""}
                 for code, severity in (("LINK-FLAPS", "error"), ("MTU-BLACKHOLE", "error"), ("TCP-STALL", "error"), ("RUN-CUT", "error"),
                                        ("PATH-RATE-LIMIT", "error"), ("PATH-QUEUE", "warning"))]
        score = judge.score(label, judge.Answer(outcome="not-fit", findings=found))
        self.assertEqual((score.beside, score.accused, score.cause), (["PATH-RATE-LIMIT"], ["MTU-BLACKHOLE"], True))
        healthy = judge.score({"outcome": "fit"}, judge.Answer(outcome="fit", findings=found))
        self.assertEqual(healthy.beside, [])


if __name__ == "__main__":
    unittest.main()
