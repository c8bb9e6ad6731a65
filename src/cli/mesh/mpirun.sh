#!/bin/bash
# mesh.sh HOSTFILE: every host of the file (a name on each line) against every other, started by Open MPI.
set -eu
hosts=$1
size=$(grep -c . "$hosts")
first=$(grep -m1 . "$hosts" | cut -d' ' -f1)
# A key for this job alone, handed on by -x: it stands on no command line.
PATHPROOF_KEY=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export PATHPROOF_KEY
# One process a host. Only rank 0 ends with a verdict, so mpirun's exit code is that of the mesh.
exec mpirun -n "$size" --hostfile "$hosts" --map-by ppr:1:node -x PATHPROOF_KEY \
  pathproof mesh --rendezvous "$first" --pattern pairs,bisect,incast -o mesh.json
