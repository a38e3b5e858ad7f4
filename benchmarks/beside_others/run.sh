#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What is left of scratch files when a program is killed again and again, as pid 1 of a pod that starts again, and what that
# does to another program that works in the same place.
#
#   benchmarks/beside_others/run.sh [way ...]      all ways without an argument; root, for unshare
#
# Each way is started 20 times in a pid namespace of its own, killed with -9 when it has written 4 MiB, and then once more
# to its end. Beside it a first one works in the same place all the time. Printed: the bytes that are left besides those of
# the first one; whether the first one's are whole, overwritten or gone, after the kills and, if that differs, after that
# end; and the time that a start takes to its first file. What is not installed is named and left out; dask is Debian's
# python3-distributed, and DuckDB is npm's @duckdb/node-api in NODE_PATH.
#
# KILLS (20), BUILD (build/release), PLACE (a directory on /dev/shm), PYTHON (/usr/bin/python3).
set -u
cd "$(dirname "$0")/../.."
kills=${KILLS:-20} build=$PWD/${BUILD:-build/release}
place=${PLACE:-$(mktemp -d /dev/shm/beside-XXXXXX)}
work=$(mktemp -d) python=${PYTHON:-/usr/bin/python3}
trap 'kill $first 2>/dev/null; rm -rf "$work"; [ -n "${PLACE:-}" ] || rm -rf "$place"' EXIT
first=
[ "$(id -u)" = 0 ] || { echo "unshare needs root"; exit 77; }
head -c 6000000 /dev/urandom | base64 -w 100 >"$work/lines"
awk '{ gsub(/[^ACGT]/, "A"); print ">r\n" $0 }' "$work/lines" >"$work/reads.fa"
for _ in 1 2 3 4; do cat "$work/reads.fa" "$work/reads.fa" >"$work/more"; mv "$work/more" "$work/reads.fa"; done

# <way>_start: writes some MiB of scratch files into $1 and then waits, or ends where $2 is "end".
mktemp_start() { # as in most scripts
  d=$(mktemp -d "$1/job-XXXXXX")
  [ "$2" = end ] || trap : EXIT
  head -c 4194304 /dev/zero >"$d/file"
  [ "$2" = end ] && rm -rf "$d" || sleep 600
}
cleaner_start() { # the same, with a start that clears the place
  rm -rf "$1"/job-*
  mktemp_start "$@"
}
tempfile_start() {
  exec "$python" - "$@" <<'END'
import sys, tempfile, time
with tempfile.TemporaryDirectory(dir=sys.argv[1], prefix="job-") as d:
    open(d + "/file", "wb").write(bytes(4 << 20))
    if sys.argv[2] != "end":
        time.sleep(600)
END
}
sqlite_start() { # a database for each worker, as counters have it
  d=$(mktemp -d "$1/job-XXXXXX")
  rows=40000
  { echo "create table t(a, b);"
    echo "with recursive n(i) as (values (0) union all select i + 1 from n where i < $rows) insert into t select i, randomblob(100) from n;"
    [ "$2" = end ] || echo ".system sleep 600"; } | sqlite3 "$d/db"
  [ "$2" != end ] || rm -rf "$d"
}
sort_start() {
  if [ "$2" = end ]; then exec sort -S 1M -T "$1" "$work/lines"; fi
  { cat "$work/lines"; sleep 600; } | sort -S 1M -T "$1"
}
kmc_start() {
  mkdir -p "$1/kmc"
  touch "$work/begun"
  kmc -k31 -m2 -t2 -fa "$work/reads.fa" "$1/kmc/result" "$1/kmc" >/dev/null &
  if [ "$2" != end ]; then # it has no input to wait for
    until find "$1/kmc" -newer "$work/begun" -printf '%s\n' | awk '{ s += $1 } END { exit s < 4100000 }' || ! kill -0 $!; do :; done
    kill -STOP $!
    sleep 600
  fi
  wait
  rm -f "$1"/kmc/result*
}
duckdb_start() { # a table that is larger than its memory, in the directory that temp_directory names
  exec node - "$@" <<'END'
const { DuckDBInstance } = require("@duckdb/node-api");
(async () => {
  const options = { temp_directory: process.argv[2], memory_limit: "64MB", threads: "1" };
  const database = await DuckDBInstance.create(":memory:", options);
  const connection = await database.connect();
  await connection.run("create table t as select i, md5(i::varchar) as m from range(2000000) r(i)");
  if (process.argv[3] != "end") await new Promise((done) => setTimeout(done, 600000));
  connection.closeSync();
  database.closeSync();
})();
END
}
duckdb-each_start() { # the same, with a directory each
  d=$(mktemp -d "$1/job-XXXXXX")
  (duckdb_start "$d" "$2")
  rm -rf "$d"
}
dask_start() { # a worker that keeps next to nothing in memory, in its own directory of dask's
  exec "$python" - "$@" <<'END'
import os, sys, time
import dask, distributed
worker = "distributed.worker.memory."
dask.config.set({worker + "target": 0.01, worker + "spill": False, worker + "pause": False, worker + "terminate": False})
with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None,
                              memory_limit="64MB", local_directory=sys.argv[1]) as cluster:
    with distributed.Client(cluster) as client:
        kept = client.map(lambda i: os.urandom(1 << 20), range(8), pure=False)
        distributed.wait(kept)
        if sys.argv[2] != "end":
            time.sleep(600)
END
}
scratch_start() {
  if [ "$2" = end ]; then exec "$build/examples/table_export/table_export" lines "$work/lines" --place "$1" -q --path-file "$work/path"; fi
  { cat "$work/lines"; sleep 600; } | "$build/examples/table_export/table_export" lines - --chunk-size 256KiB --place "$1" -q --path-file "$work/path"
}

installed() {
  case $1 in
    tempfile) command -v "$python" ;;
    sqlite) command -v sqlite3 ;;
    kmc) command -v kmc ;;
    dask) "$python" -c 'import distributed' ;;
    duckdb*) node -e 'require("@duckdb/node-api")' ;;
    scratch) command -v "$build/examples/table_export/table_export" ;;
  esac >/dev/null 2>&1
}
pod() { exec unshare --pid --fork --kill-child --mount-proc bash -c "$1_start '$2' $3" >/dev/null 2>&1; }
# Of each file its name, its size and when it was written; or what is in it. Their names have no tabs.
files() { find "$1" -type f -printf '%p\t%s\t%T@\n' 2>/dev/null | sort; }
contents() { find "$1" -type f -exec cksum {} + 2>/dev/null | awk '{ print $3 "\t" $2 "\t" $1 }' | sort; }
judged() { # what became of the first one's
  contents "$here" >"$work/after"
  if [ -z "$(comm -23 "$work/own" "$work/after")" ]; then
    echo whole
  elif [ -z "$(comm -23 <(cut -f1 "$work/own") <(cut -f1 "$work/after"))" ]; then
    echo overwritten
  else
    echo gone
  fi
}
total() { awk -F '\t' '{ s += $2 } END { print s + 0 }'; }
milliseconds() { echo $(($(date +%s%N) / 1000000)); }

printf '%-12s %18s %18s %22s\n' way 'left, bytes' 'the first' 'start to first file'
for way in ${*:-mktemp cleaner tempfile sqlite sort kmc dask duckdb duckdb-each scratch}; do
  if ! installed "$way"; then echo "$way: not installed"; continue; fi
  here=$place/$way
  mkdir -m 0700 "$here"
  export place work build python
  export -f "${way}_start" mktemp_start duckdb_start
  pod "$way" "$here" stay &
  first=$!
  # Until it writes no more.
  for _ in $(seq 400); do
    files "$here" >"$work/own"
    sleep 0.3
    [ "$(total <"$work/own")" -lt 4000000 ] || ! files "$here" | cmp -s - "$work/own" || break
  done
  contents "$here" >"$work/own"
  starts=
  for _ in $(seq "$kills"); do
    files "$here" >"$work/before"
    began=$(milliseconds)
    pod "$way" "$here" stay &
    one=$!
    new=
    for _ in $(seq 400); do
      files "$here" >"$work/now"
      fresh=$(comm -13 "$work/before" "$work/now" | total)
      if [ -z "$new" ] && [ "$fresh" != 0 ]; then new=$(($(milliseconds) - began)); fi
      [ "$fresh" -lt 4000000 ] || break
      sleep 0.01
    done
    kill -9 "$one"
    wait "$one" 2>/dev/null
    starts="$starts ${new:-?}"
  done
  killed=$(judged)
  (pod "$way" "$here" end)
  ended=$(judged)
  [ "$ended" = "$killed" ] || ended="$killed, $ended"
  left=$(join -t "$(printf '\t')" -v 2 "$work/own" "$work/after" | total)
  printf '%-12s %18s %18s %19s ms\n' "$way" "$left" "$ended" "$(printf '%s\n' $starts | sort -n | sed -n "$(((kills + 1) / 2))p")"
  kill -9 "$first" 2>/dev/null
  wait "$first" 2>/dev/null
  first=
  rm -rf "$here"
done
