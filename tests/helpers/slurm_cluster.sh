#!/usr/bin/env bash
# A real Slurm of three nodes on this host, for tests/workflow/test_slurm.py:   tests/helpers/slurm_cluster.sh start|stop
# Needs root and Debian's packages slurmctld, slurmd, slurm-client and munge. All daemons listen on the loopback only.
set -euo pipefail

folder=${SLURM_TEST_FOLDER:-/tmp/attribench-slurm}
config=/etc/slurm/slurm.conf # jobs do not inherit SLURM_CONF: no other place would do
mark="# made by attribench's tests"

start() {
  if [ -e "$config" ] && ! grep -qF "$mark" "$config"; then
    echo "$config exists and is not ours; expected a host without a Slurm of its own" >&2
    exit 1
  fi
  mkdir -p "$folder/state" "$folder/spool" "$(dirname "$config")"
  host=$(hostname -s)
  cat > "$config" <<EOF
$mark
ClusterName=attribench
SlurmctldHost=$host(127.0.0.1)
AuthType=auth/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
MinJobAge=3600
SlurmdTimeout=10
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
GresTypes=gpu
NodeName=node[1-3] NodeHostname=$host NodeAddr=127.0.0.1 Port=[17001-17003] CPUs=2 RealMemory=6000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
EOF
  if ! munge -n > /dev/null 2>&1; then
    mkdir -p /run/munge && chown munge: /run/munge
    runuser -u munge -- /usr/sbin/munged
    pgrep -u munge -n munged > "$folder/munged.pid"
  fi
  slurmctld
  for node in node1 node2 node3; do slurmd -N "$node"; done
  for _ in $(seq 30); do
    if [ "$(sinfo -h -N -t idle -o %N 2> /dev/null | wc -l)" = 3 ]; then
      echo "three Slurm nodes are idle"
      return
    fi
    sleep 1
  done
  sinfo -N >&2
  tail -n 5 "$folder"/*.log >&2
  exit 1
}

# Ends only the processes whose numbers the daemons wrote down.
stop() {
  for file in "$folder"/*.pid; do
    if [ -e "$file" ]; then
      kill "$(cat "$file")" 2> /dev/null || true
      rm -f "$file"
    fi
  done
  if [ -e "$config" ] && grep -qF "$mark" "$config"; then rm -f "$config"; fi
}

case ${1:-} in
  start) start ;;
  stop) stop ;;
  *) echo "usage: $0 start|stop" >&2 && exit 2 ;;
esac
