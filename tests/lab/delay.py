"""A known delay is measured as what it is: RDMA round trips under netem, in a guest whose time is counted in instructions.

Run by scripts/test.d/delay.guest in one boot of `scripts/lab/vm --steady --rdma both` with a wire of its own. Each direction is
delayed, so a round trip is twice the delay and what the path itself takes. That part is not known, but it is the same under
every delay: it is taken from a small one, and under the larger ones the rest must be right to 2 %. Ping over the same wire
stands beside it as a witness that netem does what it was told. Standard library only.
"""

import json
import re
import subprocess
import sys
import time

from guest import own_copy

BINARY = own_copy(sys.argv[1])
KEY = "lab-key-123"
DELAYS_MS = (0.1, 1, 5)


def sh(command):
    # No limits in here: while the guest waits for files of the host, time jumps by minutes. scripts/lab/vm has one.
    return subprocess.run(command, shell=True, capture_output=True, text=True).stdout


def p50_ms(address):
    """The median round trip, or None and why. A run that such a jump has cut short is made again."""
    for _ in range(6):
        done = subprocess.run([BINARY, "bench", "pingpong", f"{address}:7471", "--key", KEY, "--over", "rdma", "--size", "64",
                               "--time", "250ms", "--warmup", "50ms", "--format", "json"], capture_output=True, text=True)
        if done.returncode in (0, 1, 3):  # measured; the delay may well be above the built-in limit
            return json.loads(done.stdout)["steps"][0]["summary"]["rtt_ns"]["p50"] / 1e6, ""
    return None, done.stderr


def ping_ms(address):
    return float(re.search(r"= [0-9.]+/([0-9.]+)/", sh(f"ping -q -c 10 -i 0.05 {address}")).group(1))


server = subprocess.Popen([BINARY, "serve", "--listen", "0.0.0.0:7471", "--key", KEY], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
for _ in range(200):
    if ":7471 " in sh("ss -ltn"):
        break
    time.sleep(0.05)
failed = 0
for name, address in (("rxe", "10.77.0.2"), ("siw", "10.78.0.2")):
    # What comes from the host's files is read before anything is measured.
    sh("lab-netem delay 0.1ms")
    p50_ms(address), ping_ms(address)
    ours, pings = {}, {}
    for delay_ms in DELAYS_MS:
        sh(f"lab-netem delay {delay_ms}ms")
        ours[delay_ms], why = p50_ms(address)
        pings[delay_ms] = ping_ms(address)
        sh("lab-netem none")
        if ours[delay_ms] is None:
            break
    if None in ours.values():
        print(f"FAIL {name}: no figure: {why.strip()[-300:]}")
        failed += 1
        continue
    small = DELAYS_MS[0]
    path_ms, ping_path_ms = ours[small] - 2 * small, pings[small] - 2 * small
    for delay_ms in DELAYS_MS[1:]:
        delayed, witness = ours[delay_ms] - path_ms, pings[delay_ms] - ping_path_ms
        error = delayed / (2 * delay_ms) - 1
        right = abs(error) <= 0.02 and ours[delay_ms] >= 2 * delay_ms
        failed += not right
        print(f"{'ok  ' if right else 'FAIL'} {name}, {delay_ms} ms each way: p50 {ours[delay_ms]:.4f} ms, without the path's own {path_ms:.4f} ms: "
              f"{delayed:.4f} ms ({100 * error:+.2f} %); ping likewise {witness:.4f} ms", flush=True)
server.kill()
sys.exit(min(failed, 99))
