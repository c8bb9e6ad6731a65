"""The shapes of network that scenarios are built on, in the words of scripts/lab/netlab.

A scenario names one with its parameters (`topology = { name = "switch", mtu = 9000 }`) and adds to it. The hosts under
test are always `a` (runs the check) and `b` (runs the server). Addresses: 10.9.0.0/24 on the first network, 10.9.1.0/24
on the second; where a router lies between, `a` is 10.9.1.1 and `b` 10.9.2.1. With `ipv6`, fd09:: instead of 10.9.
"""


def link(ends, mtu=1500, addresses=((), ())):
    return {"ends": ends, "mtu": mtu, "addresses": [list(own) for own in addresses]}


def both_ends(*pairs):
    """Addresses of two ends as lists, those left out removed."""
    return tuple([address for address in own if address] for own in pairs)


def addresses(net, host, ipv4, ipv6):
    return [a for a in (ipv4 and f"10.9.{net}.{host}/24", ipv6 and f"fd09:{net}::{host}/64") if a]


def shaped(host, nic, mbit, queue_ms=20):
    """A bottleneck at the exit of an interface, with a queue of so long."""
    queue_bytes = max(int(mbit * 1000 * queue_ms / 8), 20_000)
    burst_bytes = max(int(mbit * 1000 / 8), 20_000)  # a millisecond: what a busy processor may be late
    return {"host": host, "command": f"tc qdisc add dev {nic} root tbf rate {mbit}mbit burst {burst_bytes} limit {queue_bytes}"}


def direct(mtu=1500, mtu_b=None, ipv4=True, ipv6=False, nic_a="e0", nic_b="e0"):
    """One cable."""
    return {"hosts": ["a", "b"],
            "link": [link([f"a:{nic_a}", f"b:{nic_b}"], [mtu, mtu_b or mtu],
                          (addresses(0, 1, ipv4, ipv6), addresses(0, 2, ipv4, ipv6)))]}


def switch(mtu=1500, mtu_b=None, switch_mtu=None, nics=1, ipv4=True, ipv6=False, mbit=None, down_mbit=None,
           nic_a=None, nic_b=None, plug_b=None):
    """Each NIC of `a` and of `b` at a switch of its own (br0, br1 in host `s`); ports a0 b0, a1 b1. `mbit` is what both
    hosts may send, `down_mbit` what b may; `plug_b` says into which switch each cable of b goes."""
    nic_a, nic_b = nic_a or [f"e{i}" for i in range(nics)], nic_b or [f"e{i}" for i in range(nics)]
    links, bridges, prepare = [], [], []
    plug_b = plug_b or list(range(nics))
    for i in range(nics):
        inner = switch_mtu or max(mtu, mtu_b or mtu)
        links.append(link([f"a:{nic_a[i]}", f"s:a{i}"], [mtu, inner], (addresses(i, 1, ipv4, ipv6), [])))
        links.append(link([f"b:{nic_b[i]}", f"s:b{i}"], [mtu_b or mtu, inner], (addresses(i, 2, ipv4, ipv6), [])))
        bridges.append({"host": "s", "name": f"br{i}", "mtu": inner,
                        "ports": [f"a{i}"] + [f"b{j}" for j in range(nics) if plug_b[j] == i]})
        if mbit:
            prepare += [shaped("a", nic_a[i], mbit), shaped("b", nic_b[i], down_mbit or mbit)]
        elif down_mbit:
            prepare += [shaped("b", nic_b[i], down_mbit)]
    return {"hosts": ["a", "b", "s"], "link": links, "bridge": bridges, "prepare": prepare}


def one_subnet(mtu=1500, ipv4=True):
    """Two NICs of each host in one subnet: a 10.9.0.1 .2, b 10.9.0.3 .4."""
    return {"hosts": ["a", "b", "s"],
            "link": [link([f"{h}:e{i}", f"s:{h}{i}"], mtu, ([f"10.9.0.{n}/24"], []))
                     for h, i, n in (("a", 0, 1), ("a", 1, 2), ("b", 0, 3), ("b", 1, 4))],
            "bridge": [{"host": "s", "name": "br0", "ports": ["a0", "a1", "b0", "b1"], "mtu": mtu}]}


def routed(mtu=1500, mtu_b=None, middle_mtu=None, mbit=None, ipv4=True, ipv6=False):
    """`a` - `r` - `b`; with `middle_mtu`, two routers `r` and `q` with a link of that MTU between them."""
    mtu_b = mtu_b or mtu
    far = "q" if middle_mtu else "r"
    hosts = ["a", "r", "b"] + (["q"] if middle_mtu else [])
    links = [link(["a:e0", "r:pa"], mtu, (addresses(1, 1, ipv4, ipv6), addresses(1, 254, ipv4, ipv6))),
             link(["b:e0", f"{far}:pb"], mtu_b, (addresses(2, 1, ipv4, ipv6), addresses(2, 254, ipv4, ipv6)))]
    routes = []
    for on, prefix, gate in ((ipv4, "10.9", "10.9.{0}.254"), (ipv6, "fd09", "fd09:{0}::254")):
        if on:
            target = "10.9.0.0/16" if prefix == "10.9" else "fd09::/16"
            routes += [{"host": "a", "to": target, "via": gate.format(1)}, {"host": "b", "to": target, "via": gate.format(2)}]
    if middle_mtu:
        links.append(link(["r:mid", "q:mid"], middle_mtu, (addresses(5, 1, ipv4, ipv6), addresses(5, 2, ipv4, ipv6))))
        for on, net, via in ((ipv4, "10.9.{0}.0/24", "10.9.5.{0}"), (ipv6, "fd09:{0}::/64", "fd09:5::{0}")):
            if on:
                routes += [{"host": "r", "to": net.format(2), "via": via.format(2)},
                           {"host": "q", "to": net.format(1), "via": via.format(1)}]
    prepare = [shaped(h, "e0", mbit) for h in ("a", "b")] if mbit else []
    return {"hosts": hosts, "forward": [h for h in hosts if h in "rq"], "link": links, "route": routes, "prepare": prepare}


def wired(mtu=1500, nics=1, ipv4=True, ipv6=False, mbit=300, queue_ms=20, faults=(), wires=None):
    """Each NIC pair over a wire in user space (host `w`); `faults` are those of the wire at the first pair, `wires` of
    all of them, one list each. `mbit` is what the hosts' NICs send: a queue of the host, so that nothing is lost there."""
    links, wire = [], []
    wires = wires or [list(faults)] + [[] for _ in range(nics - 1)]
    for i in range(nics):
        links.append(link([f"a:e{i}", f"w:a{i}"], mtu, (addresses(i, 1, ipv4, ipv6), [])))
        links.append(link([f"b:e{i}", f"w:b{i}"], mtu, (addresses(i, 2, ipv4, ipv6), [])))
        wire.append({"ends": [f"packet:w:a{i}", f"packet:w:b{i}"], "faults": wires[i]})
    prepare = [shaped(h, f"e{i}", mbit, queue_ms) for h in ("a", "b") for i in range(nics)] if mbit else []
    return {"hosts": ["a", "b", "w"], "link": links, "wire": wire, "prepare": prepare}


def nics_with_a_speed(mtu=1500, speed_a=1000, speed_b=None, duplex_a="full", duplex_b="full", faults=()):
    """Both NICs say which speed they have: a macvlan over a TAP device, whose speed can be set; the wire joins the TAPs."""
    prepare = []
    for host, number, speed, duplex in (("a", 1, speed_a, duplex_a), ("b", 2, speed_b or speed_a, duplex_b)):
        prepare += [{"host": host, "command": f"ethtool -s tap0 speed {speed} duplex {duplex}"},
                    {"host": host, "command": f"ip link set tap0 mtu {mtu} up"},
                    # The device below answers for no address: which of the two gets a packet would be chance.
                    {"host": host, "command": "sysctl -qw net.ipv4.conf.tap0.arp_ignore=1"},
                    {"host": host, "command": f"ip link add link tap0 name e0 mtu {mtu} type macvlan mode bridge"},
                    {"host": host, "command": f"ip address add 10.9.0.{number}/24 dev e0"},
                    {"host": host, "command": "ip link set e0 up"}]
    return {"hosts": ["a", "b"], "wire": [{"ends": ["tap:a:tap0", "tap:b:tap0"], "faults": list(faults)}], "prepare": prepare}


def build(scenario):
    """The scenario with what its topology brings put before its own words."""
    chosen = dict(scenario.pop("topology"))
    base = {f.__name__: f for f in (direct, switch, one_subnet, routed, wired, nics_with_a_speed)}[chosen.pop("name")](**chosen)
    for key, value in scenario.items():
        if isinstance(value, list) and isinstance(base.get(key), list):
            base[key] = base[key] + value
        else:
            base[key] = value
    return base
