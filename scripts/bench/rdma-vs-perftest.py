"""The measuring and reporting halves of scripts/bench/rdma-vs-perftest. Standard library only.

`run` works in the lab's guest: every case is measured by both tools in turn, `rounds` times, the tool that goes first
alternating. `report` turns the raw lines into medians and ratios. Nothing is dropped: a failed run is a line too.
"""

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time

ADDRESS = {"rxe": ("rxe0", "rxe1", "10.77.0.2"), "siw": ("siw0", "siw1", "10.78.0.2")}
BANDWIDTH = [(verb, size) for verb in ("write", "read", "send") for size in (4096, 65536, 1 << 20)]
LATENCY = [(verb, size) for verb in ("send", "write") for size in (2, 64, 4096)]
# Messages outstanding, the same for both tools: about 1 to 8 MiB in flight. Every fourth asks for a completion.
DEPTH = {4096: 128, 65536: 32, 1 << 20: 8}
KEY = "rdma-vs-perftest"
STEADY = "--steady" in sys.argv


def seconds(window):
    return float(window[:-2]) / 1000 if window.endswith("ms") else float(window.rstrip("s"))


def place(processor):
    """Both tools alike spin, each end on a virtual processor of its own, and Soft-RoCE and soft-iWARP do their work in
    kernel threads there, to which they give way. (In the idle class a receiver of large messages was starved for seconds.)"""
    def apply():
        if STEADY:
            return
        os.sched_setaffinity(0, {processor % os.cpu_count()})
        os.nice(10)
    return apply


CLIENT, SERVER = place(0), place(1)


def command(args, limit=60):
    started = time.time()
    try:
        done = subprocess.run(args, capture_output=True, text=True, timeout=limit, preexec_fn=CLIENT)
        return done.returncode, done.stdout, done.stderr, time.time() - started
    except subprocess.TimeoutExpired:
        return 124, "", "time limit", time.time() - started


def pathproof(binary, kind, what, verb, size, window):
    client, server, ip = ADDRESS[kind]
    args = [binary, "bench", what, ip + ":7471", "--key", KEY, "--over", "rdma", "--verb", verb, "--size", str(size),
            "--time", window, "--warmup", "100ms", "--format", "json"] + ([] if STEADY else ["--busy-poll"])
    if what == "stream":
        args += ["--depth", str(DEPTH[size])]
    code, out, err, took = command(args)
    if code not in (0, 1, 3):  # 1 and 3 are judgements of the figures
        return {"error": (err.strip() or out)[-300:], "seconds": took}
    step = json.loads(out)["steps"][0]
    summary = step["summary"]
    if what == "stream":
        value = {"bytes_per_s": (summary["goodput_bits_per_s"] or 0) / 8, "messages": summary["messages"]}
    else:
        # Half a round trip, as perftest prints it.
        value = {name + "_ns": summary["rtt_ns"][name] / 2 for name in ("p50", "p99", "max")}
        value["messages"] = summary["messages"]
    value["proof"] = (step.get("proof") or {}).get("transport")
    value["seconds"] = took
    return value


def perftest(kind, what, verb, size, iterations):
    client, server, ip = ADDRESS[kind]
    tool = f"ib_{verb}_{'bw' if what == 'stream' else 'lat'}"
    common = [tool, "-F", "-s", str(size), "-n", str(iterations)]
    common += ["-R"] if kind == "siw" else ["-x", "1"]
    common += ["-e"] if STEADY else []
    if what == "stream":
        depth = DEPTH[size]
        common += ["-t", str(depth), "-Q", str(max(1, depth // 4))] + (["-r", str(2 * depth)] if verb == "send" else [])
    listen = subprocess.Popen(common + ["-d", server], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              preexec_fn=SERVER)
    listening(kind, listen)
    code, out, err, took = command(common + ["-d", client, ip], 40)
    try:
        listen.wait(5)
    except subprocess.TimeoutExpired:
        listen.kill()
    rows = [line.split() for line in out.splitlines() if re.match(rf"^ *{size} +\d", line)]
    if code or not rows:
        return {"error": f"exit {code}: " + (err.strip() or out)[-300:], "seconds": took}
    row = [float(x) for x in rows[-1]]
    if what == "stream":
        # perftest's MB is 2^20 bytes; columns: size, iterations, peak, average.
        return {"bytes_per_s": row[3] * (1 << 20), "messages": int(row[1]), "seconds": took}
    # Columns: size, iterations, min, max, typical (its median), average, deviation, p99, p99.9; microseconds.
    return {"p50_ns": row[4] * 1000, "p99_ns": row[7] * 1000, "max_ns": row[3] * 1000, "messages": int(row[1]), "seconds": took}


def listening(kind, process):
    """Waits until the other end listens; a fixed pause is too short on a busy machine."""
    for _ in range(200):
        if kind == "siw":
            shown = subprocess.run(["rdma", "resource", "show", "cm_id"], capture_output=True, text=True).stdout
            if any("LISTEN" in line and f"pid {process.pid} " in line for line in shown.splitlines()):
                return
        elif ":18515" in subprocess.run(["ss", "-ltn"], capture_output=True, text=True).stdout:
            return
        if process.poll() is not None:
            return
        time.sleep(0.05)


def calm_scheduler():
    """Short time slices and preemption at wake-up, for both tools alike."""
    subprocess.run(["mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"], capture_output=True)
    done = []
    for name, value in (("base_slice_ns", "100000"), ("features", "NO_RUN_TO_PARITY")):
        try:
            with open("/sys/kernel/debug/sched/" + name, "w") as knob:
                knob.write(value)
            done.append(f"{name}={value}")
        except OSError as error:
            done.append(f"{name}: {error.strerror}")
    return ", ".join([*done, "both tools at nice 10, client on processor 0, server on 1"])


def run(args):
    if STEADY:
        # Time jumps while the guest waits for files of the host: what is used comes from memory, and is used once before.
        args.binary = shutil.copy(args.binary, "/tmp/pathproof-under-test")
        for tool in (args.binary, "ib_send_bw", "ib_send_lat"):
            subprocess.run([tool, "--version"], capture_output=True)
    scheduler = "one processor, both tools wait for events" if STEADY else calm_scheduler()
    server = subprocess.Popen([args.binary, "serve", "--listen", "0.0.0.0:7471", "--key", KEY],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=SERVER)
    time.sleep(1)
    with open(args.out, "w") as raw:
        def write(line):
            raw.write(json.dumps(line) + "\n")
            raw.flush()
        version = subprocess.run([args.binary, "--version"], capture_output=True, text=True).stdout.strip()
        perf = subprocess.run(["ib_write_bw", "--version"], capture_output=True, text=True).stdout.strip()
        clock = open("/sys/devices/system/clocksource/clocksource0/current_clocksource").read().strip()
        write({"about": {"pathproof": version, "perftest": perf, "kernel": platform.release(), "cpus": os.cpu_count(),
                         "clock": clock, "window": args.window, "rounds": args.rounds, "depth": DEPTH, "scheduler": scheduler}})
        for kind in args.types.split():
            cases = [("stream", v, s) for v, s in BANDWIDTH] + [("pingpong", v, s) for v, s in LATENCY]
            if STEADY:  # perftest waits for events with sends only
                cases = [case for case in cases if case[1] == "send"]
            cases = [case for case in cases if re.search(args.cells, " ".join([kind, *map(str, case)]))]
            iterations = {}
            for number in range(args.rounds):
                for what, verb, size in cases:
                    def ours():
                        return pathproof(args.binary, kind, what, verb, size, args.window)
                    def theirs():
                        return perftest(kind, what, verb, size, iterations.get((what, verb, size), 200))
                    order = [("pathproof", ours), ("perftest", theirs)]
                    if number % 2:
                        order.reverse()
                    for tool, measure in order:
                        value = measure()
                        if tool == "pathproof" and value.get("messages"):
                            # About as many iterations as fit the same window.
                            iterations[(what, verb, size)] = max(100, min(20000, value["messages"]))
                        write({"kind": kind, "what": what, "verb": verb, "size": size, "round": number, "tool": tool, **value})
                print(f"{kind}: round {number + 1} of {args.rounds}", file=sys.stderr, flush=True)
    server.kill()


def spread(values, scale, digits):
    if not values:
        return "none"
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle / scale:.{digits}f} ({low / scale:.{digits}f}–{high / scale:.{digits}f})"


def report(args):
    lines = [json.loads(line) for line in open(args.raw)]
    about, rows = lines[0]["about"], lines[1:]
    print("# pathproof and perftest over emulated RDMA\n")
    print("Made by `scripts/bench/rdma-vs-perftest`; raw figures in `raw.jsonl`. One guest boot, both tools in turn in every\n"
          "round. Values are medians (lowest–highest round). Ratios are of two\n"
          "runs of one round, their median and range. A ratio above 1 is better for bandwidth, below 1 for latency.\n")
    for name, value in about.items():
        print(f"- {name}: {value}")
    failed = [r for r in rows if "error" in r]
    print(f"- runs: {len(rows)}, failed: {len(failed)}")
    proofs = [r for r in rows if r["tool"] == "pathproof" and "error" not in r]
    proven = sum(1 for r in proofs if r.get("proof") == "rdma")
    print(f"- pathproof's runs with RDMA proven by counters: {proven} of {len(proofs)}\n")

    def values(kind, what, verb, size, tool, field):
        return [r[field] for r in rows if (r["kind"], r["what"], r["verb"], r["size"], r["tool"]) == (kind, what, verb, size, tool) and field in r]

    def ratios(kind, what, verb, size, field):
        """Ours to perftest's within each round: what disturbs a round disturbs both, as they run one after the other."""
        by_round = {}
        for r in rows:
            if (r["kind"], r["what"], r["verb"], r["size"]) == (kind, what, verb, size) and r.get(field):
                by_round.setdefault(r["round"], {})[r["tool"]] = r[field]
        return [pair["pathproof"] / pair["perftest"] for pair in by_round.values() if len(pair) == 2]

    for kind in dict.fromkeys(r["kind"] for r in rows):
        print(f"## {kind}: bandwidth, MB/s (10^6 bytes)\n\n| verb | size | pathproof | perftest | ratio |\n|---|---|---|---|---|")
        for verb, size in BANDWIDTH:
            a, b = (values(kind, "stream", verb, size, tool, "bytes_per_s") for tool in ("pathproof", "perftest"))
            ratio = spread(ratios(kind, "stream", verb, size, "bytes_per_s"), 1, 2)
            if a or b:
                print(f"| {verb} | {size} | {spread(a, 1e6, 1)} | {spread(b, 1e6, 1)} | {ratio} |")
        print(f"\n## {kind}: latency, half a round trip, µs\n\n| verb | size | pathproof p50 | perftest typical | ratio | our p99 | its p99 | our max | its max |\n|---|---|---|---|---|---|---|---|---|")
        for verb, size in LATENCY:
            a, b = (values(kind, "pingpong", verb, size, tool, "p50_ns") for tool in ("pathproof", "perftest"))
            ratio = spread(ratios(kind, "pingpong", verb, size, "p50_ns"), 1, 2)
            tails = [spread(values(kind, "pingpong", verb, size, tool, f), 1e3, 0) for f in ("p99_ns", "max_ns") for tool in ("pathproof", "perftest")]
            if a or b:
                print(f"| {verb} | {size} | {spread(a, 1e3, 1)} | {spread(b, 1e3, 1)} | {ratio} | " + " | ".join(tails) + " |")
        print()
    print("perftest leaves its two largest samples out of its statistics, so its maximum is its third largest; ours is the largest.")
    if failed:
        print("\n## Failed runs\n")
        for r in failed:
            print(f"- {r['kind']} {r['tool']} {r['what']} {r['verb']} {r['size']} round {r['round']}: {r['error'].strip()[-160:]!r}")


parser = argparse.ArgumentParser()
commands = parser.add_subparsers(dest="command", required=True)
r = commands.add_parser("run")
r.add_argument("--binary", required=True)
r.add_argument("--rounds", type=int, default=7)
r.add_argument("--window", default="500ms")
r.add_argument("--types", default="rxe siw")
r.add_argument("--cells", default="")
r.add_argument("--steady", action="store_true")
r.add_argument("--out", required=True)
p = commands.add_parser("report")
p.add_argument("--raw", required=True)
args = parser.parse_args()
run(args) if args.command == "run" else report(args)
