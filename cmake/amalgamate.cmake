# SPDX-License-Identifier: MIT
#
# cmake [-D INCLUDE=include] -D TO=scratch.hpp -P cmake/amalgamate.cmake
#
# Writes one header with all of scratch.hpp in it, each header once and in the order in which it is needed. It needs what
# the library needs: nlohmann/json, xxHash and, with -DSCRATCH_WITH_URING=1, liburing.
cmake_minimum_required(VERSION 3.25...4.1)
if(NOT INCLUDE)
  get_filename_component(INCLUDE "${CMAKE_CURRENT_LIST_DIR}/../include" ABSOLUTE)
endif()
if(NOT TO)
  message(FATAL_ERROR "say where to: cmake -D TO=scratch.hpp -P cmake/amalgamate.cmake")
endif()

# add(<header>): what it includes of ours, then its own lines.
function(add header)
  get_property(done GLOBAL PROPERTY done_${header})
  if(done)
    return()
  endif()
  set_property(GLOBAL PROPERTY done_${header} TRUE)
  file(READ ${INCLUDE}/${header} text)
  # What a list of CMake would take apart.
  string(REGEX MATCHALL "\n#include <scratch/[a-z0-9_/]+\\.hpp>" includes "${text}")
  string(REGEX REPLACE "\n#include <scratch/[a-z0-9_/]+\\.hpp>" "" text "${text}")
  string(REPLACE "#pragma once\n" "" text "${text}")
  string(REGEX REPLACE "^// SPDX[^\n]*\n// floor [^\n]*\n//\n" "" text "${text}")
  foreach(include IN LISTS includes)
    string(REGEX REPLACE "\n#include <(.*)>" "\\1" include "${include}")
    add(${include})
  endforeach()
  if(NOT header STREQUAL "scratch/scratch.hpp")
    file(APPEND ${TO} "\n// ---- ${header}\n${text}")
  endif()
endfunction()

file(STRINGS ${INCLUDE}/scratch/version.hpp version REGEX "#define SCRATCH_VERSION_(MAJOR|MINOR|PATCH) ")
list(TRANSFORM version REPLACE "[^0-9]+" "")
list(JOIN version "." version)
file(READ ${INCLUDE}/../LICENSE license)
string(REGEX REPLACE "\n+$" "" license "${license}")
string(REGEX REPLACE "\n" "\n// " license "// ${license}")
string(REPLACE "// \n" "//\n" license "${license}")
file(WRITE ${TO} "${license}\n//\n// scratch ${version} in one header, made by cmake/amalgamate.cmake.\n#pragma once\n")
add(scratch/scratch.hpp)
