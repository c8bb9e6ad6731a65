"""Classes of `pathproof contend` through a switch that goes by 802.1p, in the lab's guest: host and VLAN device put the priority of each class
into its frames, the switch counts it there and queues by it. What ETS made of it is printed and not judged. Standard library only.
"""

import json
import subprocess
import time

from guest import document_of

KEY = "lab-key-123"
HOSTS, SWITCH = ("class-a", "class-b"), "class-s"
# Of each class of traffic its code point, the priority that its host gives it, and the band of the switch: heartbeats first of all, then
# storage and migrations two to one.
CLASSES = {"heartbeat": (48, 6, 1), "storage": (26, 3, 2), "migration": (10, 1, 3)}
QUANTA = {"storage": 6056, "migration": 3028}


def run(words, text=None):
    done = subprocess.run(words.split(), input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def inside(namespace, words, text=None):
    return run(f"ip netns exec {namespace} {words}", text)


def made():
    # In few processes: an emulated guest on a busy machine takes a second for each.
    run("modprobe -a veth bridge 8021q sch_tbf sch_ets nf_tables")
    run("ip -batch -", "".join(f"netns add {namespace}\n" for namespace in (*HOSTS, SWITCH)))
    ports = ["link add br0 type bridge", "link set br0 up"]
    into_tag = " ".join(f"{priority}:{priority}" for _, priority, _ in CLASSES.values())
    by_mark = " ".join(f"ip dscp {dscp} meta priority set {priority};" for dscp, priority, _ in CLASSES.values())
    for number, host in enumerate(HOSTS, 1):
        wire = [f"link add eth0 type veth peer name port{number} netns {SWITCH}", "link set eth0 up",
                f"link add link eth0 name eth0.5 type vlan id 5 egress-qos-map {into_tag}", f"addr add 10.79.0.{number}/24 dev eth0.5",
                "link set eth0.5 up"]
        run(f"ip -n {host} -batch -", "\n".join(wire) + "\n")
        inside(host, "nft -f -", f"table ip m {{ chain o {{ type filter hook output priority 0; meta priority set 0; {by_mark} }}; }}")
        ports.append(f"link set port{number} master br0 up")
    run(f"ip -n {SWITCH} -batch -", "\n".join(ports) + "\n")
    # A priority crosses a veth pair, a cable has only the tag: the switch forgets the one and reads the other.
    count = " ".join(f"counter {name} {{ }};" for name in CLASSES)
    by_tag = " ".join(f"vlan id 5 vlan pcp {priority} counter name {name} meta priority set {priority};"
                      for name, (_, priority, _) in CLASSES.items())
    inside(SWITCH, "nft -f -", f"table netdev w {{ {count} chain i {{ type filter hook ingress device port1 priority 0; "
                               f"meta priority set 0; {by_tag} }}; }}")
    band_of = {priority: band for _, priority, band in CLASSES.values()}
    bands = " ".join(str(band_of.get(priority, 1) - 1) for priority in range(16))
    queues = ["qdisc add dev port2 root handle 1: tbf rate 8mbit burst 16k limit 1000000",
              f"qdisc add dev port2 parent 1:1 handle 10: ets bands 3 strict 1 quanta {QUANTA['storage']} {QUANTA['migration']} priomap {bands}"]
    queues += [f"qdisc add dev port2 parent 10:{band} pfifo limit 60" for _, _, band in CLASSES.values()]
    run(f"tc -n {SWITCH} -batch -", "\n".join(queues) + "\n")


def unmade():
    subprocess.run(["ip", "-force", "-batch", "-"], input="".join(f"netns del {one}\n" for one in (*HOSTS, SWITCH)), capture_output=True, text=True,
                   timeout=120)


def rehearsed(binary):
    """The step."""
    at = ["ip", "netns", "exec"]
    server = subprocess.Popen([*at, HOSTS[1], binary, "serve", "--listen", "10.79.0.2:7481", "--key", KEY], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            if ":7481 " in inside(HOSTS[1], "ss -ltn"):
                break
            time.sleep(0.05)
        marks = [word for name in QUANTA for word in ("--dscp", f"{name}={CLASSES[name][0]}")]
        done = subprocess.run([*at, HOSTS[0], binary, "contend", "10.79.0.2:7481", "--key", KEY, "--storage", "20Mbit/s", "--migrations", "2",
                               "--time", "2s", *marks, "--format", "json"], capture_output=True, text=True, timeout=120)
        step = next(step for step in document_of(done)["steps"] if step["kind"] == "contend")
        assert step["error"] is None, (step["error"], done.stderr)
        return step
    finally:
        server.kill()
        server.wait()


def travel_with_their_priorities(binary):
    unmade()
    try:
        made()
        step = rehearsed(binary)
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
    both = next(phase for phase in step["phases"] if phase["name"] == "both")
    shares = {one["name"]: one["share"] for one in both["classes"] if one["name"] in QUANTA}
    print(f"     ETS {QUANTA}: {shares}; frames by priority: {tagged}")
    seen = {f"{mark['name']} {mark['direction']}": mark["arrived_priorities"] for mark in step["marks"]}
    print(f"     priorities as they arrive: {seen}")
