#!/bin/bash
# SPDX-License-Identifier: MIT
#
# cases.sh <cmake> <generator> <compiler> <source tree> <build tree> <directory> <case>
set -eu
cmake=$1 generator=$2 compiler=$3 source=$4 build=$5 here=$6/$7 case=$7
prefix=$here/prefix
tools='kmer_frequency external_sort table_export table_export_reader scratchctl'
fail() { echo "FAILED: $*"; exit 1; }

rm -rf "$here"
mkdir -p "$here"
cd "$here"
installed() { "$cmake" --install "${1:-$build}" --component tools --prefix "$prefix" >install.log || fail "$(cat install.log)"; }

need_pages() { command -v help2man >/dev/null || { echo "skipped: there is no help2man"; exit 77; }; }

# options_of <program> [subcommand]: what --help tells of, a line each
options_of() {
  "$@" --help | grep -oE '^  (-[A-Za-z], )?--?[A-Za-z][a-z0-9-]*' | tr -s ', ' '\n' | grep '^-' | sort -u
}
commands_of() { "$1" --help | sed -n '/^Subcommands:$/,/^$/s/^  \([a-z]*\) .*/\1/p'; }

# text_of <page>: as it is read
text_of() {
  if command -v mandoc >/dev/null; then mandoc -T ascii "$1" | sed "s/.$(printf '\b')//g"
  elif command -v man >/dev/null; then MANWIDTH=1000 man -l "$1"
  else echo "skipped: neither mandoc nor man is there" >&2; exit 77
  fi
}
# section_of <text> <heading>
section_of() { awk -v wanted="$2" '/^[A-Z]/ { within = $0 == wanted } within' "$1"; }

# stands <option> <text>
stands() { grep -qE -- "^ +(-[A-Za-z], )?$1([ ,]|\$)" "$2"; }

# page_is_whole <program> <page>: each option and subcommand of the one has an entry in the other.
page_is_whole() {
  text_of "$2" >text
  [ -s text ] || return 1
  section_of text OPTIONS >section
  for option in $(options_of "$1"); do stands "$option" section || { echo "$2 lacks $option"; return 1; }; done
  for command in $(commands_of "$1"); do
    section_of text "COMMAND ${command^^}" >section
    for option in $(options_of "$1" "$command"); do
      stands "$option" section || { echo "$2 lacks $command $option"; return 1; }
    done
  done
}

is_shown_without_a_warning() {
  ! command -v mandoc >/dev/null || mandoc -W warning "$1" 2>&1 >/dev/null || return 1
  ! command -v man >/dev/null || LC_ALL=C.UTF-8 man --warnings -l "$1" 2>warnings >/dev/null || return 1
  [ ! -s warnings ] || { cat warnings; return 1; }
}

# completed <file> <word> ...: what bash offers for the last word, a line each
completed() {
  bash -c 'source "$1"; shift
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    read -ra specification < <(complete -p "$1")
    function=${specification[-2]}
    "$function"
    printf "%s\n" "${COMPREPLY[@]}"' - "$@"
}

# completion_is_whole <program> <file>
completion_is_whole() {
  name=$(basename "$1")
  completed "$2" "$name" - >offered
  options_of "$1" | diff - <(sort -u offered) || return 1
  completed "$2" "$name" '' >offered
  diff <(commands_of "$1" | sort) <(grep -v '^$' offered | grep -v '^-' | sort) || return 1
  for command in $(commands_of "$1"); do
    completed "$2" "$name" "$command" - | sort -u >offered
    options_of "$1" "$command" | diff - offered || { echo "of $command"; return 1; }
  done
}

case_each_tool_runs_from_where_it_is_installed() {
  installed
  for tool in $tools; do
    "$prefix/bin/$tool" --version >said || fail "$tool --version"
    grep -qxE "$tool, with scratch [0-9]+\.[0-9]+\.[0-9]+" said || fail "$(cat said)"
    "$prefix/bin/$tool" --help >said || fail "$tool --help"
    grep -q "^Usage: $tool " said && grep -q "^Examples:*$" said || fail "$(cat said)"
  done
  # And nothing besides: neither the library nor what serves the tests.
  (cd "$prefix" && find . -type f | sed 's@/[^/]*$@@' | sort -u) >found
  grep -v '/man/man1$' found | diff <(printf './bin\n./share/bash-completion/completions\n') - || fail "other directories"
  ls "$prefix/share/bash-completion/completions" | diff <(ls "$prefix/bin") - || fail "a tool without completion"
  ! command -v help2man >/dev/null || ls "$prefix/share/man/man1" | sed 's/\.1$//' | diff <(ls "$prefix/bin") - ||
    fail "a tool without a page"
}

case_each_option_stands_in_a_page_that_is_shown_without_a_warning() {
  need_pages
  installed
  for program in "$prefix"/bin/*; do
    page=$prefix/share/man/man1/$(basename "$program").1
    page_is_whole "$program" "$page" || fail "the page of $program"
    is_shown_without_a_warning "$page" || fail "$page"
  done
}

case_bash_completes_each_option() {
  installed
  for program in "$prefix"/bin/*; do
    completion_is_whole "$program" "$prefix/share/bash-completion/completions/$(basename "$program")" || fail "$program"
  done
  cd "$prefix/share/bash-completion/completions"
  [ "$(completed external_sort external_sort so)" = sort ] || fail "a subcommand"
  [ "$(completed external_sort external_sort sort --to)" = --to-file ] || fail "an option"
  [ "$(completed external_sort external_sort generate --keys de)" = descending ] || fail "a value"
  [ "$(completed kmer_frequency kmer_frequency --count o)" = occurrences ] || fail "a value between bars"
  [ "$(completed table_export table_export --format t)" = text ] || fail "a value in braces"
  [ -z "$(completed external_sort external_sort sort wor)" ] || fail "names of files are bash's to offer"
  [ -z "$(completed scratchctl scratchctl run -- --re)" ] || fail "the command of run has options of its own"
}

case_an_option_that_is_left_out_and_a_warning_are_found() {
  need_pages
  installed
  page=$prefix/share/man/man1/external_sort.1 completion=$prefix/share/bash-completion/completions/external_sort
  program=$prefix/bin/external_sort
  page_is_whole "$program" "$page" || fail "as it is"
  # One that another subcommand has, too.
  sed '/^.SH "COMMAND CHECK"/,$s/.*unique.*/.B --other/' "$page" >page
  ! cmp -s page "$page" || fail "nothing was left out of the page"
  ! page_is_whole "$program" page || fail "the page"
  { cat "$page"; echo .NOSUCH macro; } >page
  ! is_shown_without_a_warning page || fail "a warning"
  sed '/"check ")/s/ --unique//' "$completion" >completion
  ! cmp -s completion "$completion" || fail "nothing was left out of the completion"
  ! completion_is_whole "$program" completion || fail "the completion"
}

# configured <directory> <option> ...
configured() {
  "$cmake" -S "$source" -B "$1" -G "$generator" -DCMAKE_CXX_COMPILER="$compiler" -DSCRATCH_BUILD_TESTS=OFF "${@:2}" >"$1.log" 2>&1 || fail "$(cat "$1.log")"
}

case_without_help2man_there_are_no_pages_and_it_is_said_once() {
  configured other -DSCRATCH_INSTALL_TOOLS=ON -DHELP2MAN=OFF
  [ "$(grep -c 'need help2man' other.log)" = 1 ] || fail "$(cat other.log)"
  # What a build would make, from the one that is there.
  for tool in $tools; do cp "$(find "$build/examples" -type f -name "$tool")" "other/examples/$(cd "$build/examples" && dirname */"$tool")"; done
  for tool in kmer_frequency_mpi external_sort_mpi; do
    [ ! -f "$build/examples/$tool/$tool" ] || cp "$build/examples/$tool/$tool" "other/examples/$tool"
  done
  cp "$build"/tools/completions/* other/tools/completions
  installed other
  "$prefix/bin/scratchctl" --version >/dev/null || fail "no scratchctl"
  [ -f "$prefix/share/bash-completion/completions/scratchctl" ] || fail "no completion"
  [ ! -e "$prefix/share/man" ] || fail "$(find "$prefix/share/man")"
}

case_nobody_who_did_not_ask_gets_them() {
  configured other
  "$cmake" --install other --prefix "$prefix" >log || fail "$(cat log)"
  [ -f "$prefix/include/scratch/scratch.hpp" ] && [ ! -e "$prefix/bin" ] || fail "$(ls "$prefix")"
  if "$cmake" -S "$source" -B other -DSCRATCH_INSTALL_TOOLS=ON -DSCRATCH_BUILD_EXAMPLES=OFF >log 2>&1; then
    fail "tools without examples"
  fi
  grep -q 'SCRATCH_BUILD_EXAMPLES=OFF' log || fail "$(cat log)"
}

"case_$case"
