"""What the stage of scripts/test runs (scripts/test.d/truth.lab): `python3 -m unittest -q test_stage` in this directory."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTES = '#!/bin/sh\necho "$(basename "$0") $*" >>"$NOTED"\nexit "${%s:-0}"\n'


class Stage(unittest.TestCase):
    def ran(self, **environment):
        """What a stage with such an environment started, and its exit code."""
        with tempfile.TemporaryDirectory(prefix="stage-") as directory:
            root = Path(directory)
            (root / "scripts/test.d").mkdir(parents=True)
            shutil.copy(ROOT / "scripts/test.d/truth.lab", root / "scripts/test.d")
            for name in ("truth", "field"):
                script = root / "scripts" / name
                script.write_text(NOTES % f"{name.upper()}_CODE")
                script.chmod(0o755)
            for name in ("truth/test_table", "truth/test_labels", "truth/test_stage", "field/test_steps"):
                module = root / "tests" / f"{name}.py"
                module.parent.mkdir(parents=True, exist_ok=True)
                module.write_text("import unittest\n\n\nclass Passes(unittest.TestCase):\n    def test_it(self):\n        pass\n")
            noted = root / "noted"
            own = {key: value for key, value in os.environ.items() if key != "PATHPROOF_TRUTH"}
            done = subprocess.run([root / "scripts/test.d/truth.lab"], env={**own, "NOTED": str(noted), **environment}, capture_output=True)
            return noted.read_text().splitlines(), done.returncode

    def test_a_usual_one_runs_what_must_pass(self):
        self.assertEqual(self.ran(), (["truth --jobs 2"], 0))
        self.assertEqual(self.ran(TRUTH_CODE="1"), (["truth --jobs 2"], 1))

    def test_with_all_everything_runs_and_each_may_fail_it(self):
        everything = ["truth --all --jobs 2", "field "]
        self.assertEqual(self.ran(PATHPROOF_TRUTH="all"), (everything, 0))
        for code in ("TRUTH_CODE", "FIELD_CODE"):
            self.assertEqual(self.ran(PATHPROOF_TRUTH="all", **{code: "1"}), (everything, 1))

    def test_who_asks_for_all_is_understood(self):
        said = subprocess.run([ROOT / "scripts/test", "--all", "--no-lab"], capture_output=True, text=True)
        self.assertEqual((said.returncode, "leave out --no-lab" in said.stderr), (2, True), said.stderr)


if __name__ == "__main__":
    unittest.main()
