#!/bin/bash
# mesh.sh 'node[1-@SIZE@]': every host of the list against every other, started by clush over ssh.
set -eu
nodes=$1
size=$(nodeset -c "$nodes")
# A key for this mesh alone, in a file that only its owner reads.
key=$(mktemp)
trap 'rm -f "$key"; clush -q -w "$nodes" rm -f "$key" || true' EXIT
od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$key"
clush -w "$nodes" -p --copy "$key" --dest "$key"
# All must be started at once: the fan-out is the number of hosts. Each finds its rank by its name in the list.
clush -S -w "$nodes" -f "$size" \
  pathproof mesh --hosts "$nodes" --key-file "$key" --pattern pairs,bisect,incast -o mesh.json
