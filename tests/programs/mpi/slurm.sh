#!/bin/bash
# SPDX-License-Identifier: MIT
#
# slurm.sh <kmer_frequency> <kmer_frequency_mpi> <external_sort> <external_sort_mpi>: the job scripts of examples/mpi, as
# they are, by a slurmctld and a slurmd of our own.
one=$1 sorting=$3
source=$(cd "$(dirname "$0")/../../.." && pwd)
. "$source/tests/programs/common.sh"
need_program mpirun munged mungekey slurmctld slurmd sbatch
[ "$(id -u)" = 0 ] || { echo "skipped: slurmd must be root"; exit 77; }
unset SCRATCH_DIR
export PATH=$(dirname "$2"):$(dirname "$4"):$PATH TMPDIR=$here/place
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_mpi_yield_when_idle=1 SCRATCH_FAKE_NODES=2

daemons=()
trap 'kill "${daemons[@]}" 2>/dev/null; wait; rm -rf "$here"' EXIT
daemon() {
  "$@" >>daemons.log 2>&1 &
  daemons+=($!)
}
chmod 755 "$here"
mkdir -m 755 munge
mkdir state spool
mungekey --create --keyfile="$here/munge/key"
daemon munged --foreground --force --key-file="$here/munge/key" --socket="$here/munge/socket" --num-threads=2 \
  --pid-file="$here/munge/pid" --log-file="$here/munge/log" --seed-file="$here/munge/seed"

node=$(hostname -s)
port=$((20000 + $$ % 20000))
cat >slurm.conf <<END
ClusterName=tests
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/munge
AuthInfo=socket=$here/munge/socket
CredType=cred/munge
StateSaveLocation=$here/state
SlurmdSpoolDir=$here/spool
SlurmctldPidFile=$here/slurmctld.pid
SlurmdPidFile=$here/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
NodeName=$node NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=all Nodes=$node Default=YES MaxTime=INFINITE State=UP
END
export SLURM_CONF=$here/slurm.conf
for ((i = 0; i < 100; ++i)); do [ -S munge/socket ] && break || sleep 0.1; done
daemon slurmctld -D -f "$SLURM_CONF"
daemon slurmd -D -f "$SLURM_CONF" -N "$node"
for ((i = 0; i < 200; ++i)); do sinfo -h -o %t 2>/dev/null | grep -q idle && break || sleep 0.1; done
sinfo -h -o %t | grep -q idle || { tail daemons.log >&2; sinfo >&2; fail "no node is idle"; }

gzip -dc "$source/examples/data/lambda_virus.fa.gz" >genome.fa
"$one" -q --simulate-reads 4000 --read-length 120 --error-rate 0.02 -o reads.fa genome.fa
"$sorting" generate --text -n 100000 -o records
export MEMORY=64MiB PLACE=$here/place/sorting
# Two of mpirun that begin at once in one directory both make what they share there, and one fails.
mkdir counting sorting
OMPI_MCA_orte_tmpdir_base=$here/counting sbatch --wait "$source/examples/mpi/kmers.slurm" "$here/many.tsv" reads.fa >out 2>err &
counts=$!
OMPI_MCA_orte_tmpdir_base=$here/sorting sbatch --wait "$source/examples/mpi/sort.slurm" "$here/sorted" records >out.sort 2>err.sort ||
  { cat sort-*.out >&2; fail "the sort"; }
wait $counts || { cat kmers-*.out >&2; fail "the counts"; }
"$one" -q -k 31 --canonical --count occurrences --min-count 2 -o one.tsv reads.fa
cmp one.tsv many.tsv || fail "other counts"
cat sorted/part_* | cmp - <(sort records) || fail "other than sort"
[ -z "$(find place -name 'session_*')" ] || fail "left: $(find place -name 'session_*')"
