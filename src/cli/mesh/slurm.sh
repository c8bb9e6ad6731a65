#!/bin/bash
# sbatch mesh.sh: every node against every other. The report is in slurm-JOB.out, the document in mesh.json.
# The job ends with the verdict (sbatch --wait mesh.sh): 0 fit, 1 not fit, 3 cannot tell.
#SBATCH --job-name=pathproof-mesh
#SBATCH --nodes=@SIZE@
#SBATCH --ntasks-per-node=1
#SBATCH --time=01:00:00
set -eu
# A key for this job alone: the tasks inherit it.
PATHPROOF_KEY=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export PATHPROOF_KEY
rm -f mesh.json
# Rank, size and the node of rank 0 come from Slurm. --kill-on-bad-exit=0: a node that fails costs its own cells only.
srun --kill-on-bad-exit=0 pathproof mesh --pattern pairs,bisect,incast -o mesh.json || true
# srun ends with the largest code, which is that of a task that was killed; the document has rank 0's.
exec pathproof report mesh.json >/dev/null
