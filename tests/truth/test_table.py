"""What `scripts/truth --all` passes and what it does not: `python3 -m unittest -q test_table` in this directory."""

import unittest

import table


def row(name="some", **known):
    about = {"title": "", "kind": "", "told_by": "", "expected": "not-fit", "causes": ["PATH-LOSS"], "healthy": False, "state": "judged",
             "verdict": True, "cause": True}
    return table.Row(name, **(about | known))


HEALTHY = {"expected": "fit", "causes": [], "healthy": True, "cause": None}


class Holds(unittest.TestCase):
    def failings(self, *rows, required=False):
        return table.Total(list(rows)).failings(required)

    def test_all_right(self):
        self.assertEqual(self.failings(row(), row(**HEALTHY), row(healed=True)), [])

    def test_nothing_judged(self):
        self.assertIn("nothing was judged", self.failings(row(state="skipped")))

    def test_what_must_not_be_at_all(self):
        # Ninety-nine that are right make up for none of these.
        well = [row() for _ in range(99)]
        for known, said in [({"state": "unproved"}, "label did not hold: 1"), ({"false_fit": True}, "false fit: 1"),
                            ({**HEALTHY, "accused": ["PATH-LOSS"]}, "accused: 1"), ({"accused": ["MTU-BLACKHOLE"]}, "wrong cause: 1"),
                            ({"healed": False}, "not healed: 1")]:
            self.assertEqual(self.failings(*well, row(**known)), [said])

    def test_skipped_where_the_lab_is_required(self):
        rows = [row(), row(state="skipped")]
        self.assertEqual(self.failings(*rows), [])
        self.assertEqual(self.failings(*rows, required=True), ["skipped: 1"])

    def test_a_heal_that_a_busy_host_left_open_is_no_failure(self):
        self.assertEqual(self.failings(row(heal_open="busy")), [])

    def test_shares(self):
        self.assertEqual(self.failings(*[row()] * 95, *[row(verdict=False)] * 5), [])
        self.assertEqual(self.failings(*[row()] * 94, *[row(verdict=False)] * 6), ["verdicts: 94 of 100"])
        self.assertEqual(self.failings(*[row()] * 90, *[row(cause=False)] * 10), [])
        self.assertEqual(self.failings(*[row()] * 89, *[row(cause=False)] * 11), ["causes: 89 of 100"])

    def test_what_no_label_speaks_of_is_named_and_fails_nothing(self):
        rows = [row("flaps", beside=["PATH-RATE-LIMIT"])]
        self.assertEqual(self.failings(*rows), [])
        self.assertIn("flaps (PATH-RATE-LIMIT)", table.summary(rows, False))

    def test_each_round_by_itself(self):
        # 96 of 100 over all, and 92 in the second.
        rows = [row(round=1) for _ in range(50)] + [row(round=2, verdict=number > 3) for number in range(50)]
        self.assertEqual([total.holds(False) for total in table.rounds(rows).values()], [True, False])
        self.assertIn("round 2 of 2", table.summary(rows, False))


if __name__ == "__main__":
    unittest.main()
