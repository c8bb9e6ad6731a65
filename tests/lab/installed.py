#!/usr/bin/env python3
"""A .deb in other roots: `installed.py PACKAGE.deb ROOT...` (`scripts/lab/roots` makes such roots of Debian's suites).

Two hosts are made of each root, both behind an overlay, so that nothing in it changes, joined by a cable between two network namespaces. From the
installation in both to the verdict about the path between them is timed; then upgrade, removal and purge.
"""
import subprocess, sys, tempfile
from pathlib import Path

SCRIPT = r'''
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
for host in one two; do
  mkdir -p "$1/$host/up" "$1/$host/work" "$1/$host/root"
  mount -t overlay overlay -o "lowerdir=$3,upperdir=$1/$host/up,workdir=$1/$host/work" "$1/$host/root"
  mount -t proc proc "$1/$host/root/proc"
  mount --bind /dev "$1/$host/root/dev"
  cp "$2" "$1/$host/root/pathproof.deb"
done
# Their names are of this script alone.
mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns
ip netns add one && ip netns add two && ip -n one link add cable type veth peer name cable netns two
for end in one:1 two:2; do
  ip -n ${end%:*} link set lo up
  ip -n ${end%:*} addr add 10.99.0.${end#*:}/24 dev cable && ip -n ${end%:*} link set cable up
done
place=$1
on() { host=$1; shift; ip netns exec $host sh -c 'mount -t sysfs sysfs "$0/sys" && exec chroot "$0" "$@"' "$place/$host/root" "$@"; }
# A busy host may be found unfit; what counts is that there is a verdict.
told() { code=0; "$@" || code=$?; case $code in 0|1|3) ;; *) return 1;; esac; }
export PATHPROOF_KEY=key-of-this-test
on one sh -c '. /etc/os-release && echo "$PRETTY_NAME"'
began=$(date +%s%N)
on one dpkg --install /pathproof.deb
on two dpkg --install /pathproof.deb
on two pathproof serve --listen 10.99.0.2 &
until ip netns exec two ss -Hltn "sport = :7797" | grep -q .; do sleep 0.1; done
told on one pathproof check 10.99.0.2 --quick
took=$((($(date +%s%N) - began) / 1000000))
echo "from two installations to the verdict: $((took / 1000)).$((took % 1000 / 100)) s"
[ $took -ge 120000 ] || echo "in under two minutes"
echo "two hosts met"
told on one pathproof check --self --quick
echo "checked itself"
on one sh -e -c '
  test -s /usr/share/man/man1/pathproof-check.1.gz
  mkdir -p /etc/pathproof; echo key-of-this-test > /etc/pathproof/key
  dpkg --install /pathproof.deb
  test -s /etc/pathproof/key && pathproof --version && echo "kept by an upgrade"
  dpkg --remove pathproof
  test ! -e /usr/bin/pathproof && test -s /etc/pathproof/key && echo "kept by a removal"
  dpkg --purge pathproof
  test ! -e /etc/pathproof && ! dpkg --status pathproof >/dev/null 2>&1
  ! find / -xdev -path /proc -prune -o -name "pathproof*" -path "/usr/*" -print | grep . && echo "nothing left"
'
'''
SENTENCES = ["in under two minutes", "two hosts met", "checked itself", "kept by an upgrade", "kept by a removal", "nothing left"]


def installed(package, root, place):
    """What happened: the sentences that do not hold, and all that was said. The server ends with the PID namespace."""
    place.mkdir()
    said = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", SCRIPT, "sh", place, package, root],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    lines = said.stdout.splitlines()
    return ([sentence for sentence in SENTENCES if sentence not in lines] + (["the script ended"] if said.returncode else []), said.stdout)


if __name__ == "__main__":
    failed = 0
    with tempfile.TemporaryDirectory(prefix="pathproof-installed-") as scratch:
        for number, root in enumerate(sys.argv[2:]):
            missing, said = installed(sys.argv[1], root, Path(scratch) / str(number))
            print(said, f"FAIL {root}: {', '.join(missing)}" if missing else f"PASS {root}", sep="\n")
            failed += bool(missing)
    sys.exit(failed)
