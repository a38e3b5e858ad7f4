# SPDX-License-Identifier: MIT
#
# Compares the commands in COMMANDS that compile `consumer`, which links us, and `alone`, which does not: ours may add
# directories of headers and SCRATCH_WITH_URING=1, and nothing else.
file(READ ${COMMANDS} json)
string(JSON count LENGTH "${json}")
math(EXPR last "${count} - 1")
foreach(i RANGE ${last})
  string(JSON command GET "${json}" ${i} command)
  foreach(target IN ITEMS alone consumer)
    if(command MATCHES "CMakeFiles/${target}\\.dir")
      string(REGEX REPLACE "[^ ]*${target}(\\.dir|\\.cpp)[^ ]*" "" command "${command}")
      string(REGEX REPLACE "-isystem +" "-isystem" command "${command}")
      separate_arguments(${target} UNIX_COMMAND "${command}")
    endif()
  endforeach()
endforeach()
if(NOT alone OR NOT consumer)
  message(FATAL_ERROR "no commands for alone and consumer in ${COMMANDS}")
endif()

list(REMOVE_ITEM consumer ${alone})
list(FILTER consumer EXCLUDE REGEX "^-I|^-isystem|^-DSCRATCH_WITH_URING=1$")
if(consumer)
  message(FATAL_ERROR "scratch brought ${consumer} along")
endif()
