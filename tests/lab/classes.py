"""Classes of `pathproof contend` through a switch that goes by 802.1p, in the lab's guest: each class comes with its priority in the tags of its
frames, the switch counts it there, queues by it (ETS), and writes tags of its own by its maps. Held against what the switch counts: the share
that each class is said to have had; and a priority for which the switch has no tag is named. Standard library only.
"""

import json
import subprocess
import threading
import time

from guest import document_of

KEY = "lab-key-123"
HOSTS, SWITCH = ("class-a", "class-b"), "class-s"
# Of each class of traffic its code point, the priority that it has at its host, and the band of the switch: heartbeats first of all, then
# storage and migrations two to one.
CLASSES = {"heartbeat": (48, 6, 1), "storage": (26, 3, 2), "migration": (10, 1, 3)}
QUANTA = {"storage": 6056, "migration": 3028}
RESERVED = {"storage": 67, "migration": 33}
OFF = 0.05


def run(words, text=None):
    done = subprocess.run(words.split(), input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def inside(namespace, words, text=None):
    return run(f"ip netns exec {namespace} {words}", text)


def map_of(priorities):
    return " ".join(f"{priority}:{priority}" for priority in priorities)


def made(by_mark, lost=()):
    """Two hosts and the switch. The hosts' rules give these classes their priorities by their code points; the switch has no tag for frames of
    the `lost` classes that it sends to the second host."""
    # In few processes: an emulated guest on a busy machine takes a second for each.
    run("modprobe -a veth bridge 8021q sch_tbf sch_ets nf_tables")
    run("ip -batch -", "".join(f"netns add {namespace}\n" for namespace in (*HOSTS, SWITCH)))
    every = map_of(priority for _, priority, _ in CLASSES.values())
    kept = map_of(priority for name, (_, priority, _) in CLASSES.items() if name not in lost)
    rules = " ".join(f"ip dscp {CLASSES[name][0]} meta priority set {CLASSES[name][1]};" for name in by_mark)
    ports = ["link add br0 type bridge", "link set br0 up"]
    for number, host in enumerate(HOSTS, 1):
        wire = [f"link add eth0 type veth peer name port{number} netns {SWITCH}", "link set eth0 up",
                f"link add link eth0 name eth0.5 type vlan id 5 egress-qos-map {every}", f"addr add 10.79.0.{number}/24 dev eth0.5",
                "link set eth0.5 up"]
        run(f"ip -n {host} -batch -", "\n".join(wire) + "\n")
        inside(host, "nft -f -", f"table ip m {{ chain o {{ type filter hook output priority 0; {rules} }}; }}")
        # A priority crosses a veth pair, a cable has only the tag: the switch's VLAN takes what stands in that and forgets the other.
        ports += [f"link set port{number} up", f"link add link port{number} name port{number}.5 type vlan id 5 ingress-qos-map {every} "
                  f"egress-qos-map {kept if number == 2 else every}", f"link set port{number}.5 master br0 up"]
    run(f"ip -n {SWITCH} -batch -", "\n".join(ports) + "\n")
    count = " ".join(f"counter {name} {{ }};" for name in CLASSES)
    by_tag = " ".join(f"vlan id 5 vlan pcp {priority} counter name {name};" for name, (_, priority, _) in CLASSES.items())
    inside(SWITCH, "nft -f -", f"table netdev w {{ {count} chain i {{ type filter hook ingress device port1 priority 0; {by_tag} }}; }}")
    band_of = {priority: band for _, priority, band in CLASSES.values()}
    bands = " ".join(str(band_of.get(priority, 1) - 1) for priority in range(16))
    queues = ["qdisc add dev port2 root handle 1: tbf rate 8mbit burst 16k limit 1000000",
              f"qdisc add dev port2 parent 1:1 handle 10: ets bands 3 strict 1 quanta {QUANTA['storage']} {QUANTA['migration']} priomap {bands}"]
    # Longer than all windows together (below). What is lost holds up what comes after it for as long as the queue is: then what arrives in a
    # phase is not what the queue sent in it.
    queues += [f"qdisc add dev port2 parent 10:{band} pfifo limit 1000" for _, _, band in CLASSES.values()]
    run(f"tc -n {SWITCH} -batch -", "\n".join(queues) + "\n")
    inside(HOSTS[1], "tee /proc/sys/net/ipv4/tcp_rmem", "4096 131072 131072\n")


def unmade():
    subprocess.run(["ip", "-force", "-batch", "-"], input="".join(f"netns del {one}\n" for one in (*HOSTS, SWITCH)), capture_output=True, text=True,
                   timeout=120)


def rehearsed(binary, *more):
    """The document and its step."""
    at = ["ip", "netns", "exec"]
    server = subprocess.Popen([*at, HOSTS[1], binary, "serve", "--listen", "10.79.0.2:7481", "--key", KEY], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            if ":7481 " in inside(HOSTS[1], "ss -ltn"):
                break
            time.sleep(0.05)
        done = subprocess.run([*at, HOSTS[0], binary, "contend", "10.79.0.2:7481", "--key", KEY, "--storage", "20Mbit/s", "--migrations", "2",
                               *more, "--format", "json"], capture_output=True, text=True, timeout=180)
        document = document_of(done)
        step = next(step for step in document["steps"] if step["kind"] == "contend")
        assert step["error"] is None, (step["error"], done.stderr)
        return document, step
    finally:
        server.kill()
        server.wait()


def look_at_bands(looks, over):
    """Notes what the bands of storage and migrations have sent, dropped and hold. One `tc` is asked again and again: a process each time would
    take the guest from what it looks at."""
    tc = subprocess.Popen(["tc", "-n", SWITCH, "-s", "-j", "-batch", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        while not over.wait(0.05):
            tc.stdin.write("qdisc show dev port2\n")
            tc.stdin.flush()
            queues = {queue.get("parent"): queue for queue in json.loads(tc.stdout.readline())}
            looks.append((time.monotonic(), {name: queues[f"10:{CLASSES[name][2]}"] for name in QUANTA}))
    finally:
        tc.stdin.close()
        tc.wait(10)


def watched(binary, *more):
    """The document, its step, and what was seen of the bands meanwhile."""
    looks, over = [], threading.Event()
    watch = threading.Thread(target=look_at_bands, args=(looks, over))
    watch.start()
    try:
        return *rehearsed(binary, *more), looks
    finally:
        over.set()
        watch.join()


def phase(step, name):
    return next(one for one in step["phases"] if one["name"] == name)


def of_both(step, looks):
    """The looks at the bands while the phase with both classes was measured."""
    begins = next(flow["active"]["start_ns"] for flow in step["flows"] if flow["name"] == "migration, both")
    settle_s, length_s = ((phase(step, "both")["start_ns"] - begins) / 1e9, phase(step, "both")["length_ns"] / 1e9)
    # Before it the band of migrations has the datagrams that tell marks and the handshakes of connections.
    sent = [look["migration"]["bytes"] for _, look in looks]
    first = next(at for at, bytes_sent in enumerate(sent) if bytes_sent - sent[0] > 40_000)
    # A migration was not seen at the look before, so it did not begin earlier; nor end later.
    begin, end = looks[first][0] + settle_s, looks[first - 1][0] + settle_s + length_s
    own = [(at, look) for at, look in looks if begin <= at <= end]
    assert len(own) > 2 and own[-1][0] - own[0][0] > length_s / 2, f"the switch was looked at {len(own)} times in {length_s} s"
    return own


def sent_between(pairs):
    """Of all that the bands sent from the first to the second look of these pairs, each one's share."""
    sent = {name: sum(after[name]["bytes"] - before[name]["bytes"] for (_, before), (_, after) in pairs) for name in QUANTA}
    return {name: count / sum(sent.values()) for name, count in sent.items()}


def shares_are_those_of_the_bands(document, step, looks):
    both = of_both(step, looks)
    dropped = {name: both[-1][1][name]["drops"] - both[0][1][name]["drops"] for name in QUANTA}
    assert not any(dropped.values()), f"the bands dropped {dropped}, so what arrived is not what they sent"
    counted = sent_between([(both[0], both[-1])])
    shares = {one["name"]: one["share"] for one in phase(step, "both")["classes"] if one["name"] in QUANTA}
    full = [pair for pair in zip(both, both[1:]) if all(look[name]["backlog"] for _, look in pair for name in QUANTA)]
    print(f"     shares: {shares}; counted by the bands of ETS {QUANTA}: {counted}, both of them full between {len(full) + 1} of {len(both)} looks")
    for name in QUANTA:
        assert abs(shares[name] / counted[name] - 1) < OFF, f"{name}: {shares[name]}, and {counted[name]} was counted"
    assert sum(after - before for (before, _), (after, _) in full) > phase(step, "both")["length_ns"] / 2e9, "the bands were not full"
    for name, share in sent_between(full).items():
        due = QUANTA[name] / sum(QUANTA.values())
        assert abs(share / due - 1) < OFF, f"{name}: its band sent {share} while both were full, and its quantum is {due} of both"
    checks = [check for verdict in document["verdicts"] for check in verdict["checks"] if check["criterion"] == "reserved-share"]
    assert [(check["limit"], check["outcome"]) for check in checks] == [(percent / 100, "pass") for percent in RESERVED.values()], checks


def travel_with_their_priorities(binary):
    unmade()
    try:
        made(by_mark=CLASSES)
        marks = [word for name in QUANTA for word in ("--dscp", f"{name}={CLASSES[name][0]}")]
        expected = [word for name, percent in RESERVED.items() for word in ("--share", f"{name}={percent}")]
        document, step, looks = watched(binary, "--time", "6s", *marks, *expected)
        listed = json.loads(inside(SWITCH, "nft -j list counters"))["nftables"]
        tagged = {one["counter"]["name"]: one["counter"]["packets"] for one in listed if "counter" in one}
    finally:
        unmade()
    assert all(tagged[name] > 100 for name in CLASSES), f"frames by their 802.1p priority: {tagged}"
    for mark in step["marks"]:
        # The tag changes nothing about the mark that it was made from.
        arrived = mark["arrived"]
        assert arrived and arrived[0]["dscp"] == mark["dscp"] == CLASSES[mark["name"]][0], mark
        # Both ends look at the NIC below their VLAN device, where the tag still is.
        assert [one["priority"] for one in mark["arrived_priorities"]] == [CLASSES[mark["name"]][1]], mark
    shares_are_those_of_the_bands(document, step, looks)


def lose_a_priority_at_a_switch(binary):
    """Storage's priority is what its sockets ask for, and a port of the switch has no tag for it; migrations and heartbeats keep theirs, and so
    does storage on the way back."""
    unmade()
    try:
        made(by_mark=["heartbeat"], lost=["storage"])
        asked = [word for name in QUANTA for word in ("--priority", f"{name}={CLASSES[name][1]}")]
        document, step = rehearsed(binary, "--time", "500ms", *asked)
    finally:
        unmade()
    for mark in step["marks"]:
        name = mark["name"]
        lost = (name, mark["direction"]) == ("storage", "out")
        assert [one["priority"] for one in mark["arrived_priorities"]] == [0 if lost else CLASSES[name][1]], mark
        assert mark["priority"] == (CLASSES[name][1] if name in QUANTA else None), mark
    told = [finding["evidence"] for finding in document["findings"] if finding["code"] == "PRIORITY-CHANGED"]
    assert told == ["to the peer: 802.1p priorities arrive changed: storage (priority 3) as 0"], told
