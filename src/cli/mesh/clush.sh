#!/bin/bash
# mesh.sh 'node[1-@SIZE@]': every host of the list against every other, started by clush over ssh. The document is mesh.json on the first host.
# It ends with the verdict: 0 fit, 1 not fit, 3 cannot tell.
set -eu
# All names, for groups and folded lists are clush's own. Each host finds its rank by its name in the list.
hosts=$(nodeset -e -S , "$1")
# A key for this mesh alone. clush hands its standard input on to all hosts, so the key stands in no file and on no command line.
# All must be started at once: the fan-out is the number of hosts.
od -An -N16 -tx1 /dev/urandom | tr -d ' \n' |
  clush -S -w "$1" -f "$(nodeset -c "$1")" \
    pathproof mesh --hosts "$hosts" --key-file /dev/stdin --pattern pairs,bisect,incast -o mesh.json
