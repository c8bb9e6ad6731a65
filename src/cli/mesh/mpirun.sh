#!/bin/bash
# mesh.sh HOSTFILE: every host of the file (a name on each line) against every other, started by Open MPI. The document is mesh.json.
# It ends with the verdict: 0 fit, 1 not fit, 3 cannot tell.
set -eu
names=$(sed 's/#.*//' "$1" | awk 'NF {print $1}')
first=$(head -n 1 <<<"$names")
# A key for this job alone, handed on by -x: it stands on no command line.
PATHPROOF_KEY=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export PATHPROOF_KEY
rm -f mesh.json
# One process a host. --enable-recovery: one that fails or is killed costs its own cells only, and does not end the job.
mpirun -n "$(wc -w <<<"$names")" --hostfile "$1" --map-by ppr:1:node -x PATHPROOF_KEY --enable-recovery \
  pathproof mesh --rendezvous "$first" --pattern pairs,bisect,incast -o mesh.json || true
# With it mpirun ends with 0 whatever came out; the document has rank 0's code. It is on the first host where the two share no folder.
[ -e mesh.json ] || scp -q "$first:$PWD/mesh.json" mesh.json
exec pathproof report mesh.json >/dev/null
