"""Proves a scenario's label by means other than pathproof: ping, iperf3, ethtool, counters, sockets of probe.py.

A [[verify]] table is one proof. `in` is the host that runs it; what it says is compared with bounds [least, most]:

    ping = ADDRESS      count, interval_ms, size (IP bytes, DF set), and of the answers: loss_percent, rtt_ms
    iperf3 = ADDRESS    at (the host that serves), time_s, reverse, parallel, udp_mbit, tcp_mbit (paced), length, and: mbit, lost_percent,
                        retransmits, grew = { host, counter, by } (a counter of /proc/net/snmp or netstat meanwhile)
    run = COMMAND       exit, says (a pattern), number (of the pattern's first group), words = { KEY = [least, most] }
                        of the KEY=VALUE words it prints; `echo = HOST` runs probe.py's echo there on port 7000
    title               what is proved; shown when it does not hold
"""

import json
import re
import subprocess
import time


class Unproved(Exception):
    """The label does not hold on this machine, or could not be looked at; the text says which proof and what it saw."""


def bounded(name, value, bounds):
    if bounds is not None and (value is None or not bounds[0] <= value <= bounds[1]):
        raise Unproved(f"{name} is {value}, not within {bounds[0]} to {bounds[1]}")


def output(lab, host, command, timeout=25):
    words = lab.command(host, lab.words(command))
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise Unproved(f"{command}: not done after {timeout} s") from error


def counter(lab, host, name):
    """A counter of the namespace by its name in nstat, such as TcpInCsumErrors; None where it is not there."""
    for file in ("snmp", "netstat"):
        lines = output(lab, host, f"cat /proc/net/{file}").stdout.splitlines()
        for heads, values in zip(lines[::2], lines[1::2]):
            group = heads.split(":")[0]
            for head, value in zip(heads.split()[1:], values.split()[1:]):
                if group + head == name:
                    return int(value)
    return None


def ping(lab, proof):
    size = proof.get("size")
    extra = f"-M do -s {size - (48 if ':' in proof['ping'] else 28)}" if size else ""
    command = f"ping -q -c {proof.get('count', 5)} -i {proof.get('interval_ms', 10) / 1000} -W 1 {extra} {proof['ping']}"
    said = output(lab, proof["in"], command)
    lost = re.search(r"([\d.]+)% packet loss", said.stdout)
    if not lost:
        raise Unproved(f"{command}: {(said.stderr or said.stdout).strip()[-200:]}")
    trip = re.search(r"= [\d.]+/([\d.]+)/", said.stdout)
    bounded("share of pings lost in percent", float(lost[1]), proof.get("loss_percent", [0, 0]))
    bounded("round trip in ms", float(trip[1]) if trip else None, proof.get("rtt_ms"))


def iperf3(lab, proof):
    server = lab.start(proof["at"], ["iperf3", "-s", "-1", "-p", "7001"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if output(lab, proof["at"], "ss -Hltn sport = :7001").stdout.strip():
                break
            time.sleep(0.02)
        command = f"iperf3 -J -c {proof['iperf3']} -p 7001 -t {proof.get('time_s', 2)} -P {proof.get('parallel', 1)}"
        command += " -R" if proof.get("reverse") else ""
        command += f" -l {proof['length']}" if "length" in proof else ""
        command += f" -u -b {proof['udp_mbit']}M" if "udp_mbit" in proof else ""
        command += f" -b {proof['tcp_mbit']}M" if "tcp_mbit" in proof else ""
        grew = proof.get("grew")
        before = counter(lab, grew["host"], grew["counter"]) if grew else None
        said = output(lab, proof["in"], command)
        try:
            end = json.loads(said.stdout)["end"]
            total = end["sum"] if "udp_mbit" in proof else end["sum_received"]
        except (ValueError, KeyError) as error:
            raise Unproved(f"{command}: {said.stdout.strip()[-200:]} {said.stderr.strip()[-200:]}") from error
        bounded("iperf3's rate in Mbit/s", total["bits_per_second"] / 1e6, proof.get("mbit"))
        bounded("iperf3's loss in percent", total.get("lost_percent"), proof.get("lost_percent"))
        bounded("iperf3's retransmits", end.get("sum_sent", {}).get("retransmits"), proof.get("retransmits"))
        if grew:
            bounded(f"{grew['counter']} at {grew['host']}", counter(lab, grew["host"], grew["counter"]) - before, grew["by"])
    finally:
        server.kill()
        server.wait()


def run(lab, proof):
    echo = None
    if "echo" in proof:
        echo = lab.start(proof["echo"], lab.words("probe echo 7000"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            if output(lab, proof["echo"], "ss -Hlun sport = :7000").stdout.strip():
                break
            time.sleep(0.03)
    try:
        said = output(lab, proof["in"], proof["run"])
    finally:
        if echo:
            echo.kill()
            echo.wait()
    text = said.stdout + said.stderr
    shown = " ".join(text.split())[-160:]
    if "exit" in proof and said.returncode != proof["exit"]:
        raise Unproved(f"{proof['run']}: exit {said.returncode}: {shown}")
    if "says" in proof:
        match = re.search(proof["says"], text)
        if not match:
            raise Unproved(f"{proof['run']}: does not say {proof['says']!r} but {shown!r}")
        if "number" in proof:
            bounded(proof["says"], float(match[1]), proof["number"])
    for key, bounds in proof.get("words", {}).items():
        match = re.search(rf"\b{key}=(-?[\d.]+)", text)
        if not match:
            raise Unproved(f"{proof['run']}: no {key} in {shown!r}")
        bounded(f"{key} of {proof['run']}", float(match[1]), bounds)


def prove(lab, proofs):
    """Runs every proof; raises Unproved for the first that does not hold. What does not is looked at once more: a host drops packets of its own
    while nobody has answered it yet which MAC they are for, and a processor may be taken away for a moment."""
    for proof in proofs:
        way = next(f for f in (ping, iperf3, run) if f.__name__ in proof)
        try:
            way(lab, proof)
        except Unproved:
            try:
                way(lab, proof)
            except Unproved as error:
                title = proof.get("title")
                raise Unproved(f"{title}: {error}" if title else str(error)) from error
