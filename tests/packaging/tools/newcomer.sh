#!/bin/bash
# SPDX-License-Identifier: MIT
#
# newcomer.sh <uses|builds> <cmake> <source tree> <build tree> <directory>
#
# Each line of the shell that the README and examples/tools.md show of the tools, by an ordinary user in a chroot that has
# a copy of the source, what Debian has in /usr and /etc, and nothing else of this machine: no other user's files, a small
# /dev/shm, a /dev of its own. Who `builds` types the lines that build and install them, too, and README's first command;
# for who only `uses` them they come from the build tree.
set -eu
what=$1 cmake=$2 source=$3 build=$4 here=$5/newcomer_$1
fail() { echo "FAILED: $*"; exit 1; }
if [ "$(id -u)" != 0 ]; then echo "skipped: chroot needs root"; exit 77; fi
if [ "${NEWCOMER_NAMESPACE:-}" = "" ]; then
  unshare -m true 2>/dev/null || { echo "skipped: no mount namespace"; exit 77; }
  rm -rf "$here"
  mkdir -p "$here/root" "$here/source"
  # As a clone has it; what stands beside it in a tree that is worked in does not come along.
  (cd "$source" && { git -c safe.directory='*' ls-files -z 2>/dev/null || find . -type f -not -path './build/*' -print0; } |
    tar -c --null -T - | tar -x -C "$here/source")
  [ "$what" = builds ] || "$cmake" --install "$build" --component tools --prefix "$here/prefix" >"$here/log" ||
    fail "$(cat "$here/log")"
  NEWCOMER_NAMESPACE=1 exec unshare -m --propagation private bash "$0" "$@"
fi

user=64321
root=$here/root
mount -t tmpfs -o mode=755 tmpfs "$root"
cd "$root"
mkdir -p usr etc proc dev tmp home var/lib/dpkg
chmod 1777 tmp
for name in bin sbin lib lib32 lib64; do [ ! -L /$name ] || cp -P /$name .; done
for name in usr etc var/lib/dpkg; do
  mount --bind /$name $name
  mount -o remount,bind,ro $name
done
mount --rbind /proc proc
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do
  touch dev/$name
  mount --bind /dev/$name dev/$name
done
ln -s /proc/self/fd dev/fd
mkdir dev/shm
mount -t tmpfs -o mode=1777,size=64m tmpfs dev/shm
mkdir home/newcomer
mv "$here/source" home/newcomer/scratch
[ ! -e "$here/prefix" ] || mv "$here/prefix" home/newcomer/.local
chown -R $user:$user home/newcomer

# block <word> <page>: the page's block of the shell that has this word.
# type_in: each line of the standard input as it is typed, without its comment.
cat >home/newcomer/lines.sh <<'EOF'
set -eu
block() { awk -v wanted="$1" '/^```sh$/ { within = 1; text = ""; next } /^```/ { if (within && index(text, wanted)) printf "%s", text; within = 0 } within { text = text $0 "\n" }' "$2"; }
type_in() {
  local line
  while IFS= read -r line; do
    line=${line%%  \#*}
    [ -n "${line// /}" ] || continue
    echo "\$ $line"
    bash -c "$line" </dev/null || { echo "FAILED: $line: exit code $?"; exit 1; }
    typed=$((typed + 1))
  done
}
typed=0
cd ~/scratch
if [ "$1" = builds ]; then
  export CMAKE_BUILD_PARALLEL_LEVEL=2
  type_in < <(block quickstart.sh README.md | grep quickstart.sh)
  type_in < <(block SCRATCH_INSTALL_TOOLS README.md)
fi
mkdir ~/work
cd ~/work
type_in < <(grep -v '^#' ~/scratch/examples/sort.sh | sed 's/^/cd sort; /' | cat <(echo 'mkdir -p sort/more sort/disk1 sort/disk2
cd sort; external_sort generate -n 20000 --lines -o words.txt
cd sort; external_sort generate -n 30000 --lines -o more/words.txt
cd sort; external_sort generate --record 64 -n 100000 -o records') -)
type_in < <(grep -v '^#' ~/scratch/examples/resume.sh | sed 's/^/cd resume; /' | cat <(echo 'mkdir resume
cd resume; external_sort generate --text -n 20000 -o records.txt
cd resume; seq 100000 >orders.csv
cd resume; kmer_frequency -q --simulate-reads 2000 --read-length 150 -o day_1.fa ~/scratch/examples/data/lambda_virus.fa.gz
cd resume; cp day_1.fa day_2.fa') -)
# Something to look at.
kmer_frequency -q -k 21 --table kmers.table resume/day_1.fa
export SESSION FILE=kmers.table KEY=0 COMMAND=true
SESSION=$(table_export orders -q --keep resume/orders.csv --path-file path && cat path)
tools=$(block 'scratchctl ls' ~/scratch/README.md)
[ "$(echo "$tools" | wc -l)" -ge 11 ] || { echo "FAILED: not what README shows: $tools"; exit 1; }
# What stands for something is what it stands for; watch has no end of its own.
echo "$tools" | sed -E 's/#.*//; s/(.*) SESSION\|FILE/\1 "$SESSION"\n\1 "$FILE"/; s/\[KEY \.\.\.\]/$KEY/; s/--joined FILE/--joined "$FILE"/
  s/(count) FILE/\1 "$FILE"/; s/ SESSION/ "$SESSION"/; s/-- COMMAND/-- $COMMAND/
  s/^scratchctl rm .*/scratchctl unkeep "$SESSION"\n&/; s/^(scratchctl watch) *$/timeout -s INT 1 \1; [ $? = 124 ] || [ $? = 130 ]/' >typed
type_in <typed
type_in < <(scratchctl ls --json | sed -n 's/.*"path": *"\([^"]*orders[^"]*\)".*/scratchctl rm --kept \1/p')
! grep -qE '(SESSION\||\[|FILE |COMMAND$)' <(sed 's/\[ \$?.*//' typed) || { echo "FAILED: not filled in"; cat typed; exit 1; }
python3 ~/scratch/tests/programs/support/transcript.py ~/scratch/examples/tools.md ~/scratch/examples/data \
  ~/.local/bin/{kmer_frequency,external_sort,table_export,table_export_reader,scratchctl}
[ "$(scratchctl ls | tail -n 1)" = '0 sessions, 0 B' ] || { echo "FAILED: left: $(scratchctl ls)"; exit 1; }
echo "$typed lines typed"
EOF
chroot --userspec=$user:$user . /usr/bin/env -i HOME=/home/newcomer PATH=/home/newcomer/.local/bin:/usr/bin:/bin \
  LC_ALL=C bash -c 'cd && exec bash ~/lines.sh "$1"' - "$what" || fail "exit code $?"
