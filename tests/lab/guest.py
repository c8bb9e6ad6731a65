"""What the drivers that run in the lab's guest share: the program, its documents, and cases one by one. Standard library only."""

import json
import os
import shutil
import subprocess
import time
import traceback

# So that CI is not red for what happens once in hundreds of cases: the case is made again, and both are told.
TRIES = 2 if os.environ.get("PATHPROOF_SECOND_TRY") == "1" else 1


def own_copy(program):
    """The guest's own copy of a program: below the guest's root lie the host's files, which a compiler there may replace at any moment."""
    return shutil.copy(program, f"/tmp/{os.path.basename(program)}")


def document_of(done):
    """The document that a finished process printed. What ended without one says how."""
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"no document: exit code {done.returncode}, standard error: {done.stderr[-3000:]}") from None


def last_words_of_the_kernel():
    """A program that was killed, or that died of a fault, says nothing itself."""
    said = subprocess.run(["dmesg"], capture_output=True, text=True).stdout.splitlines()
    return "".join(f"     kernel: {line}\n" for line in said[-8:])


def run_cases(cases, named=(), after_failure=lambda: None):
    """Runs all, or those that are named; a failed one is reported and the others go on. Returns how many failed."""
    if unknown := set(named) - {case.__name__ for case in cases}:
        raise SystemExit(f"no such case: {', '.join(sorted(unknown))}")
    failed = 0
    for case in cases:
        if named and case.__name__ not in named:
            continue
        name, begun = case.__name__.replace("_", " "), time.time()
        for attempt in range(1, TRIES + 1):
            try:
                case()
                print(f"{'ok   ' if attempt == 1 else 'FLAKY'} {name} ({time.time() - begun:.1f} s)", flush=True)
                break
            except Exception:
                print(f"FAIL  {name} ({time.time() - begun:.1f} s)\n{traceback.format_exc()[-4000:]}{last_words_of_the_kernel()}", flush=True)
                after_failure()
        else:
            failed += 1
    print(f"{failed} cases failed", flush=True)
    return failed
