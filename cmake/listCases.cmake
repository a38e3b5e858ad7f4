# SPDX-License-Identifier: MIT
#
# Read by ctest as it starts, once for each source of a Catch2 program: makes each of its cases a test. (Catch2's own
# module does much the same, but cannot give a test two labels, knows no sources, and breaks the build over a program
# that does not start.)
# In: name, tags (that of its source, and what SCRATCH_CASES says), program, catch2_version, timeout, labels, serial.
if(NOT EXISTS "${program}")
  add_test("${name}: not built" "${program}")
  return()
endif()

# -# makes the name of its source a tag of each case.
if(catch2_version VERSION_LESS 3)
  set(ask -\# "${tags}" --list-test-names-only)
else()
  set(ask -\# "${tags}" --list-tests --verbosity quiet)
endif()
execute_process(
  COMMAND "${program}" ${ask}
  OUTPUT_VARIABLE cases
  ERROR_QUIET
  TIMEOUT 60)
string(REPLACE "[" "@open@" cases "${cases}")
string(REPLACE "]" "@close@" cases "${cases}")
string(REPLACE ";" "@semicolon@" cases "${cases}")
string(REGEX REPLACE "\n+" ";" cases "${cases}")

set(found FALSE)
foreach(case IN LISTS cases)
  string(REPLACE "@open@" "[" case "${case}")
  string(REPLACE "@close@" "]" case "${case}")
  string(REPLACE "@semicolon@" ";" case "${case}")
  string(STRIP "${case}" case)
  if(case STREQUAL "")
    continue()
  endif()
  set(found TRUE)
  # Catch2 reads its argument as a pattern, in which these mean something.
  string(REGEX REPLACE "([][,\\*])" "\\\\\\1" pattern "${case}")
  add_test("${name}: ${case}" "${program}" "${pattern}")
  set_tests_properties("${name}: ${case}" PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT ${timeout} LABELS "${labels}"
                                                     RUN_SERIAL ${serial})
endforeach()

if(NOT found)
  add_test("${name}: lists no cases" "${program}" ${ask} --invalid-so-that-this-fails)
endif()
