"""What a step passes and what it does not: `PYTHONPATH=../truth python3 -m unittest -q test_steps` in this directory."""

import tomllib
import unittest
from pathlib import Path

import judge
import steps

FINDING = {"code": "PATH-LOSS", "severity": "error", "evidence": "46 of 3900 lost", "meaning": "", "next": "change the cable", "values": {}}


class Compares(unittest.TestCase):
    def wrong(self, step, code=1, text="NOT FIT: it is\n    the cable", documents=()):
        answer = judge.Answer(exit_code=code, outcome="not-fit", findings=[FINDING])
        return steps.Asked.compare(step, answer, code, text, list(documents), 3)

    def test_what_is_as_it_must_be(self):
        step = {"exit": [1, 2], "outcome": "not-fit", "finds": ["MTU-BLACKHOLE|PATH-LOSS"], "says": ["it is the cable", "46 of \\d+"],
                "never": ["MTU-BLACKHOLE"], "never_says": ["^FIT"], "within_s": 5}
        self.assertEqual(self.wrong(step), [])

    def test_each_word_by_itself(self):
        for step in ({"exit": 0}, {"outcome": "fit"}, {"finds": ["MTU-BLACKHOLE"]}, {"says": ["the switch"]}, {"never": ["PATH-LOSS"]},
                     {"never_says": ["change the cable"]}, {"within_s": 2}):
            self.assertEqual(len(self.wrong(step)), 1, step)

    def test_documents(self):
        step = {"documents": ["o"], "valid": ["error"]}
        self.assertEqual(self.wrong(step, documents=[{"error": {"kind": "refused"}}]), [])
        self.assertEqual(len(self.wrong(step, documents=[{"error": None}])), 1)
        self.assertEqual(self.wrong(step, documents=[None]), ["o is no document"])


class Cases(unittest.TestCase):
    def test_all_are_understood_and_proved(self):
        cases = sorted((Path(__file__).parent / "cases").glob("*.toml"))
        self.assertTrue(cases)
        for path in cases:
            case = tomllib.loads(path.read_text())
            steps.check(case)
            self.assertTrue(len(case["verify"]) > 1 and case["right"], path.stem)

    def test_what_nobody_would_look_at(self):
        for step in ({"pathproof": "check b", "finding": ["PATH-LOSS"]}, {"pathproof": "check b", "shell": "true"}, {}):
            with self.assertRaises(steps.BadCase):
                steps.check({"title": "some", "step": [step]})


if __name__ == "__main__":
    unittest.main()
