"""Sums up the documents of multi-scaling: medians, ratios against the limits less header overhead, failovers."""
import glob, json, os, statistics, sys

out = sys.argv[1]
# Payload of a full frame at an IP MTU of 1500 with timestamps, over what tbf counts (no check sequence).
PAYLOAD = 1448 / 1514


def step(path):
    try:
        with open(path) as file:
            doc = json.load(file)
        return doc["steps"][-1], doc
    except (OSError, ValueError, IndexError, KeyError):
        return None, None


def rates(name):
    found = [step(path)[0] for path in sorted(glob.glob(os.path.join(out, name + "-[0-9]*.json")))]
    return [s["summary"]["goodput_bits_per_s"] for s in found if s and not s["error"] and s["summary"]["goodput_bits_per_s"]]


summary, lines = {}, []
for name, limit in [("one-tcp", 1e9), ("one-multi", 1e9), ("two-single1", 1e9), ("two-single2", 1e9), ("two", 2e9),
                    ("unequal", 1.5e9), ("four", 4e9)]:
    got = rates(name)
    if got:
        median = statistics.median(got)
        ratio = median / (limit * PAYLOAD)
        summary[name] = {"rounds": len(got), "median_bits_per_s": int(median), "of_limit_less_headers": round(ratio, 4),
                         "all_bits_per_s": got}
        lines.append(f"{name:12} {median / 1e6:9.1f} Mbit/s  {ratio:6.3f} of the limits less headers  ({len(got)} rounds)")
if "one-tcp" in summary and "one-multi" in summary:
    cost = 1 - summary["one-multi"]["median_bits_per_s"] / summary["one-tcp"]["median_bits_per_s"]
    summary["striping_cost_one_nic"] = round(cost, 4)
    lines.append(f"striping costs {cost * 100:.1f} % with one NIC")

leaks = 0
for path in glob.glob(os.path.join(out, "*.json")):
    _, doc = step(path)
    leaks += sum(f["code"] == "CHANNEL-LEAK" for f in (doc or {}).get("findings", []))
summary["leak_findings"] = leaks

down, _ = step(os.path.join(out, "down.json"))
if down:
    summary["link_down"] = down.get("failover")
    lines.append("link down: " + json.dumps(down.get("failover")))
runs = [step(path) for path in glob.glob(os.path.join(out, "silent-*.json"))]
done = [s for s, _ in runs if s and not s["error"]]
failed = [s["failover"] for s in done if s.get("failover")]
if runs:
    gaps = sorted(f["gap_ns"] / 1e6 for f in failed if f["gap_ns"] is not None)
    noticed = sorted(f["noticed_after_ns"] / 1e6 for f in failed if f["noticed_after_ns"] is not None)
    clean = sum(f["lost_bytes"] == 0 and f["duplicated_bytes"] == 0 and f["verified"] is True for f in failed)
    summary["silent_drop"] = {"runs": len(runs), "ended_well": len(done), "with_failover": len(failed),
                              "nothing_lost_or_doubled": clean, "gap_ms": gaps, "noticed_after_ms": noticed,
                              "replayed_messages": [f["replayed_messages"] for f in failed],
                              "duplicates_discarded": sum(f["duplicates_discarded"] for f in failed)}
    if gaps:
        lines.append(f"silent drop: {len(runs)} runs, {len(failed)} with a lost NIC, {clean} without a byte lost or doubled; "
                     f"gap median {statistics.median(gaps):.0f} ms, longest {gaps[-1]:.0f} ms; noticed after {statistics.median(noticed):.0f} ms")
with open(os.path.join(out, "summary.json"), "w") as file:
    json.dump(summary, file, indent=1)
    file.write("\n")
print("\n".join(lines))
