#!/bin/bash
# SPDX-License-Identifier: MIT
#
# cases.sh <examples/sweeping> <scratchctl> <sessions> <case>: one case; what it asserts is its name.
files=$1 scratchctl=$2 sessions=$3 case=$4
. "$(dirname "$0")/../common.sh"
SCRATCH_DIR=$here/base
mkdir -p base

# A dead session of one application, a kept one of another: dead_path, kept_path.
make_sessions() {
  for app in one two; do mkdir -m 0700 "base/$app-$(id -u)"; done
  dead_path=$(("$sessions" "$here/base/one-$(id -u)" dead || true) 2>/dev/null)
  kept_path=$("$sessions" "$here/base/two-$(id -u)" kept)
  [ -d "$dead_path" ] && [ -d "$kept_path" ] || fail "no sessions"
}

# Runs each command of a file, `scratchctl` being ours, and expects what a sweep does. The control: nothing went before.
run_and_look() { # <command ...>: a line each, from stdin
  make_sessions
  local commands=0
  while read -r line; do
    case $line in *scratchctl\ sweep*) ;; *) fail "no sweep: $line" ;; esac
    commands=$((commands + 1))
    [ "$commands" != 1 ] || [ -d "$dead_path" ] || fail "it was gone before"
    sh -c "${line/*scratchctl/\"$scratchctl\"}" >out 2>err || fail "$line: exit code $?"
    [ ! -s err ] || fail "$line says something on stderr"
  done
  [ "$commands" -gt 0 ] || fail "no commands"
  [ ! -e "$dead_path" ] || fail "a dead session is still there"
  [ -d "$kept_path" ] || fail "a kept session went"
}

only_root() { [ "$(id -u)" = 0 ] || { echo "skipped: --all-users needs root"; exit 77; }; }

case_the_service_sweeps_every_place() {
  only_root
  sed -n 's/^ExecStart=//p' "$files/scratch-sweep.service" >commands
  run_and_look <commands
  grep -q '^OnUnitInactiveSec=' "$files/scratch-sweep.timer" || fail "the timer starts it once"
  grep -q '^WantedBy=timers.target' "$files/scratch-sweep.timer" || fail "the timer cannot be enabled"
}

case_cron_does_the_same() {
  only_root
  # minute hour day month weekday user command
  grep -v '^#' "$files/scratch-sweep.cron" | awk 'NF < 7 || $6 != "root" { exit 1 }' || fail "not a line of cron.d"
  sed -n 's/^[0-9,]* \*.* root *//p' "$files/scratch-sweep.cron" >commands
  [ "$(grep -vc '^#' "$files/scratch-sweep.cron")" = "$(wc -l <commands)" ] || fail "a line was not understood"
  run_and_look <commands
}

case_a_pod_sweeps_its_place_before_its_program_starts() {
  need_program python3
  python3 - "$files/kubernetes.yaml" >commands <<'END' || fail "not understood"
import json, re, sys
text = open(sys.argv[1]).read()
init = text[text.index("initContainers:"):text.index("  containers:")]
print(" ".join(json.loads(re.search(r"command: (\[.*\])", init).group(1))))
END
  sed -i "s@ /scratch @ $here/base @" commands
  run_and_look <commands
}

case_systemd_tmpfiles_passes_sessions_over() {
  make_sessions
  # x: what matches is neither cleaned by age nor looked into.
  sed -n 's@^x /tmp/@@p' "$files/scratch.tmpfiles.conf" >patterns
  [ "$(grep -vc '^#' "$files/scratch.tmpfiles.conf")" = 2 ] && [ -s patterns ] || fail "not understood"
  for path in "$dead_path" "$kept_path"; do
    case ${path#"$here/base/"} in
      $(cat patterns)) ;;
      *) fail "$path is not spared" ;;
    esac
  done
}

"case_$case"
