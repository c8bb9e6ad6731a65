#!/usr/bin/env python3
"""Small tools that prove a label without pathproof. Each verb prints one line of KEY=VALUE words.

    echo PORT                          TCP and UDP echo on every address; UDP replies with the TOS that arrived
    connect ADDRESS PORT COUNT [GAP_MS]  COUNT connections, GAP_MS apart, kept open: opened, refused, silent, reset
    flows ADDRESS PORT FLOWS BYTES     from FLOWS source ports, three UDP packets of BYTES each: answered, of
    mark ADDRESS PORT DSCP             one DSCP in UDP, both ways: arrived (as the far end saw it), lost
    stream ADDRESS PORT COUNT BYTES MBIT  paced UDP stream to an echo: sent, lost, late, duplicated, reordered, late (shares)
    idle ADDRESS PORT SECONDS          a connection, silence, a question: alive=1 or 0
    each ADDRESS PORT FLOWS            round trips of UDP from FLOWS source ports, the median of each: fastest_ms, slowest_ms
    openings ADDRESS PORT COUNT        how long connections take to open, one after another: median_ms
    rates ADDRESS PORT COUNT SECONDS   COUNT connections push one after another: slowest_mbit, fastest_mbit, as acknowledged
    loaded ADDRESS PORT SECONDS [IN]   round trips of UDP while TCP pushes (IN: pulls) as much as it can: idle_ms, loaded_ms
    options ADDRESS PORT               what SYN and SYN-ACK agreed on, from the kernel: mss, scaling, sack, timestamps, ecn
    proxy PORT                         what TPROXY hands over is accepted first and dialled then, in the client's name, from its port
    flood ADDRESS MBIT SECONDS         full UDP packets for everybody (a broadcast address) that nobody asked for: sent
    advertise NIC MTU SECONDS          a router that is none says every second how long packets may be on its link (RFC 4861)
    spin SECONDS PROCESSES             keeps processors busy
"""

import os
import select
import socket
import struct
import sys
import threading
import time

# Beyond the system's limit: a process that waits for a processor must not look like a path that loses.
SO_RCVBUFFORCE = 33


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def echo(port):
    def answer(connection):
        with connection:
            try:
                first = connection.recv(65536)
                while first[:4] == b"GIVE":
                    connection.sendall(bytes(65536))
                data = first
                while data:
                    if first[:4] != b"SINK":
                        connection.sendall(data)
                    data = connection.recv(65536)
            except OSError:
                pass

    def accept(listener):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    tcp = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256)
    threading.Thread(target=accept, args=(tcp,), daemon=True).start()
    four, six = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    six.setsockopt(socket.IPPROTO_IPV6, 66, 1)  # IPV6_RECVTCLASS
    four.setsockopt(socket.IPPROTO_IP, 13, 1)  # IP_RECVTOS
    four.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER: do
    for s, any_address in ((four, "0.0.0.0"), (six, "::")):
        s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        s.bind((any_address, port))
    while True:
        for s in select.select([four, six], [], [])[0]:
            data, notes, _, source = s.recvmsg(65536, 256)
            tos = next((note[2][0] for note in notes), 255)
            reply = data[:8] + bytes([tos]) + data[9:]
            try:
                if len(data) > 9 and data[9] == 1:  # asked to answer with the same mark
                    s.sendmsg([reply], [(socket.IPPROTO_IP, 1, struct.pack("i", tos))] if s is four else [], 0, source)
                else:
                    s.sendto(reply, source)
            except OSError:
                pass


def connect(address, port, count, gap_ms=0):
    held, told = [], {"opened": 0, "refused": 0, "silent": 0}
    for _ in range(count):
        s = socket.socket(family(address), socket.SOCK_STREAM)
        s.setblocking(False)
        code = s.connect_ex((address, port))
        held.append(s)
        if code == 111:
            told["refused"] += 1
        time.sleep(gap_ms / 1000)
    until = time.monotonic() + 0.9  # before the first SYN goes again
    waiting = list(held)
    while waiting and time.monotonic() < until:
        for s in select.select([], waiting, [], 0.1)[1]:
            waiting.remove(s)
            code = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            told["opened" if code == 0 else "refused"] += 1
    told["silent"] = len(waiting)
    return told


def flows(address, port, count, size):
    ip = 48 if ":" in address else 28
    answered = 0
    for _ in range(count):
        s = socket.socket(family(address), socket.SOCK_DGRAM)
        if ip == 28:
            s.setsockopt(socket.IPPROTO_IP, 10, 3)  # IP_PMTUDISC_PROBE
        s.settimeout(0.15)
        for _ in range(3):
            try:
                s.sendto(bytes(size - ip), (address, port))
                s.recv(65536)
                answered += 1
                break
            except OSError:
                pass
        s.close()
    return {"answered": answered, "of": count}


def mark(address, port, dscp):
    s = socket.socket(family(address), socket.SOCK_DGRAM)
    level, option = (socket.IPPROTO_IPV6, 67) if ":" in address else (socket.IPPROTO_IP, socket.IP_TOS)  # IPV6_TCLASS
    s.setsockopt(level, option, dscp << 2 | 1)
    s.settimeout(0.3)
    for _ in range(5):
        s.sendto(bytes(32), (address, port))
        try:
            tos = s.recv(100)[8]
            return {"arrived": tos >> 2, "ecn": tos & 3, "lost": 0}
        except OSError:
            pass
    return {"arrived": -1, "ecn": -1, "lost": 1}


def stream(address, port, count, size, mbit):
    s = socket.socket(family(address), socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    s.setblocking(False)
    s.connect((address, port))
    ip = 48 if ":" in address else 28
    gap, start = size * 8 / (mbit * 1e6), time.monotonic()
    seen, order, trips = {}, [], []

    def take():
        while True:
            try:
                number, sent_ns = struct.unpack_from("!I", s.recv(65536))[0], None
            except OSError:
                return
            seen[number] = seen.get(number, 0) + 1
            order.append(number)
            trips.append(time.monotonic() - (start + number * gap))

    for number in range(count):
        while time.monotonic() < start + number * gap:
            take()
        try:
            s.send(struct.pack("!I", number) + bytes(size - ip - 4))
        except OSError:
            pass
    # An echo that waited for a processor is late, not lost.
    quiet_since, known = time.monotonic(), len(order)
    while time.monotonic() < quiet_since + 0.7:
        take()
        if len(order) > known:
            quiet_since, known = time.monotonic(), len(order)
        time.sleep(0.005)
    highest, overtaken = -1, 0
    for number in order:
        overtaken += number < highest
        highest = max(highest, number)
    trips.sort()
    return {"sent": count, "lost": count - len(seen), "lost_percent": round(100 * (count - len(seen)) / count, 3),
            "duplicated_percent": round(100 * sum(n > 1 for n in seen.values()) / count, 3),
            "reordered_percent": round(100 * overtaken / count, 3),
            "p50_ms": round(1000 * trips[len(trips) // 2], 2) if trips else -1,
            "p99_ms": round(1000 * trips[len(trips) * 99 // 100], 2) if trips else -1}


def idle(address, port, seconds):
    s = socket.create_connection((address, port), 3)
    s.settimeout(2)
    try:
        s.sendall(b"x")
        s.recv(1)
        time.sleep(seconds)
        s.sendall(b"x")
        return {"alive": int(s.recv(1) == b"x")}
    except OSError:
        return {"alive": 0}


def trip(s, address, port, patience_s):
    """A round trip of UDP in ms; as long as the patience where nothing came back."""
    s.settimeout(patience_s)
    sent = time.monotonic()
    s.sendto(bytes(32), (address, port))
    try:
        s.recv(100)
        return 1000 * (time.monotonic() - sent)
    except OSError:
        return 1000.0 * patience_s


def each(address, port, flows):
    medians = []
    for _ in range(flows):
        s = socket.socket(family(address), socket.SOCK_DGRAM)
        medians.append(sorted(trip(s, address, port, 1) for _ in range(9))[4])
    return {"fastest_ms": round(min(medians), 2), "slowest_ms": round(max(medians), 2)}


def openings(address, port, count):
    times = []
    for _ in range(count):
        began = time.monotonic()
        socket.create_connection((address, port), 5).close()
        times.append(1000 * (time.monotonic() - began))
    return {"median_ms": round(sorted(times)[count // 2], 2)}


def pushed(address, port, seconds):
    """What a pushing connection had acknowledged in so long, in bytes."""
    s = socket.create_connection((address, port), 3)
    s.setblocking(False)
    block, until = bytes(65536), time.monotonic() + seconds
    s.send(b"SINK")
    while time.monotonic() < until:
        try:
            s.send(block)
        except BlockingIOError:
            select.select([], [s], [], 0.01)
    acknowledged = struct.unpack_from("Q", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232), 120)[0]
    # What still waits is not to be in the way of who comes next.
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
    return acknowledged


def rates(address, port, count, seconds):
    all_of_them = [pushed(address, port, seconds) * 8e-6 / seconds for _ in range(count)]
    return {"slowest_mbit": round(min(all_of_them), 2), "fastest_mbit": round(max(all_of_them), 2)}


def loaded(address, port, seconds, pull=0):
    """To pull, the echo is asked to send: what it echoes is what it was given, so a stream goes both ways; a push says
    SINK first and gets nothing back."""
    def trips(until):
        s, times = socket.socket(family(address), socket.SOCK_DGRAM), []
        while time.monotonic() < until:
            times.append(trip(s, address, port, 2))
            time.sleep(0.02)
        return sorted(times)

    before = trips(time.monotonic() + 0.5)
    until = time.monotonic() + seconds
    stream_socket = socket.create_connection((address, port), 3)

    def work():
        block = bytes(65536)
        try:
            stream_socket.sendall(b"GIVE" if pull else b"SINK")
            while time.monotonic() < until:
                stream_socket.recv(65536) if pull else stream_socket.sendall(block)
        except OSError:
            pass

    threading.Thread(target=work, daemon=True).start()
    time.sleep(1)
    after = trips(until)
    return {"idle_ms": round(before[len(before) // 2], 2), "loaded_ms": round(after[len(after) // 2], 2)}


def options(address, port):
    s = socket.create_connection((address, port), 3)
    info = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 64)
    flags = info[5]
    return {"timestamps": flags & 1, "sack": flags >> 1 & 1, "scaling": flags >> 2 & 1, "ecn": flags >> 3 & 1,
            "mss": struct.unpack_from("I", info, 16)[0]}


def proxy(port):
    ip_transparent = 19

    def pour(source, sink):
        try:
            while data := source.recv(262144):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for one in (source, sink):
                one.close()

    def carry(near):
        far = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        far.setsockopt(socket.SOL_IP, ip_transparent, 1)
        far.settimeout(3)
        try:
            far.bind(near.getpeername())
            far.connect(near.getsockname())
        except OSError:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            near.close()
            return
        far.settimeout(None)
        threading.Thread(target=pour, args=(far, near), daemon=True).start()
        pour(near, far)

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_IP, ip_transparent, 1)
    listener.bind(("0.0.0.0", port))
    listener.listen(256)
    while True:
        near, _ = listener.accept()
        threading.Thread(target=carry, args=(near,), daemon=True).start()


def flood(address, mbit, seconds):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    start, sent, block = time.monotonic(), 0, bytes(1472)
    while (passed := time.monotonic() - start) < seconds:
        while sent < passed * mbit * 1e6 / 8 / 1500:
            try:
                s.sendto(block, (address, 9))
            except OSError:
                pass
            sent += 1
        time.sleep(0.001)
    return {"sent": sent}


def advertise(nic, mtu, seconds):
    s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)  # others are not believed
    # No lifetime, so nobody takes it for a router; one option, the MTU.
    said = struct.pack("!BBHBBHII", 134, 0, 0, 0, 0, 0, 0, 0) + struct.pack("!BBHI", 5, 1, 0, mtu)
    everybody, until = ("ff02::1", 0, 0, socket.if_nametoindex(nic)), time.monotonic() + seconds
    while time.monotonic() < until:
        s.sendto(said, everybody)
        time.sleep(1)


def spin(seconds, processes):
    for _ in range(processes - 1):
        if os.fork() == 0:
            break
    until = time.monotonic() + seconds
    while time.monotonic() < until and os.getppid() != 1:
        pass


VERBS = {f.__name__: f for f in (echo, connect, flows, mark, stream, idle, each, openings, rates, loaded, options, proxy, flood,
                                 advertise, spin)}


def number(word):
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    return word


def main():
    words = [number(w) for w in sys.argv[2:]]
    told = VERBS[sys.argv[1]](*words)
    print(" ".join(f"{key}={value}" for key, value in (told or {}).items()))


if __name__ == "__main__":
    main()
