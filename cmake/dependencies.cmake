# SPDX-License-Identifier: MIT
#
# What the library needs: the installed copy first, a download that is pinned by its hash second. Of what is downloaded
# only headers are used.
include(FetchContent)

# scratch_fetch(<package> <Debian package> <where from, for FetchContent_Declare>): what is not installed.
macro(scratch_fetch package debian)
  if(NOT SCRATCH_FETCH_DEPENDENCIES)
    message(FATAL_ERROR "scratch needs ${package}, which is not installed. On Debian or Ubuntu:\n"
                        "  apt-get install ${debian}\n"
                        "or let it be downloaded: -DSCRATCH_FETCH_DEPENDENCIES=ON")
  endif()
  message(STATUS "scratch: ${package} is not installed (Debian: ${debian}) and is downloaded")
  FetchContent_Declare(${package} SYSTEM SOURCE_SUBDIR only-its-headers ${ARGN})
  FetchContent_MakeAvailable(${package})
endmacro()

# scratch_dependency(<package> <imported target> <Debian package> <version> <where from>)
function(scratch_dependency package target debian version)
  if(TARGET ${target})
    return()
  endif()
  string(TOUPPER ${package} upper)
  if(NOT FETCHCONTENT_SOURCE_DIR_${upper})
    find_package(${package} ${version} QUIET GLOBAL)
  endif()
  if(NOT TARGET ${target})
    scratch_fetch(${package} ${debian} ${ARGN})
    string(TOLOWER ${package} lower)
    add_library(${target} INTERFACE IMPORTED GLOBAL)
    target_include_directories(${target} INTERFACE "${${lower}_SOURCE_DIR}/include")
  endif()
endfunction()

scratch_dependency(
  nlohmann_json nlohmann_json::nlohmann_json nlohmann-json3-dev 3.9
  URL https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz
  URL_HASH SHA256=d6c65aca6b1ed68e7a182f4757257b107ae403032760ed6ef121c9d55e81757d)

include(${CMAKE_CURRENT_LIST_DIR}/scratchXxhash.cmake)
if(NOT FETCHCONTENT_SOURCE_DIR_XXHASH)
  scratch_locate_xxhash(scratch_xxhash_includes)
endif()
if(NOT scratch_xxhash_includes)
  scratch_fetch(xxHash libxxhash-dev GIT_REPOSITORY https://github.com/Cyan4973/xxHash.git
                GIT_TAG bbb27a5efb85b92a0486cf361a8635715a53f6ba)
  set(scratch_xxhash_includes "${xxhash_SOURCE_DIR}")
endif()

find_package(Threads REQUIRED GLOBAL)

# At top level the examples and tests are built where what they need is there, if nothing else was said.
macro(scratch_build_by_default option what)
  if(NOT DEFINED ${option})
    set(${option} ${PROJECT_IS_TOP_LEVEL})
    foreach(package IN ITEMS ${ARGN})
      string(REGEX REPLACE ":.*" "" name ${package})
      string(REGEX REPLACE ".*:" "" debian ${package})
      if(${option})
        find_package(${name} QUIET)
        if(NOT ${name}_FOUND)
          set(${option} OFF)
          message(STATUS "scratch: the ${what} are not built, they need ${name} (Debian: ${debian})")
        endif()
      endif()
    endforeach()
  endif()
endmacro()
if(SCRATCH_INSTALL_TOOLS AND NOT DEFINED SCRATCH_BUILD_EXAMPLES)
  set(SCRATCH_BUILD_EXAMPLES ON)
endif()
scratch_build_by_default(SCRATCH_BUILD_EXAMPLES examples CLI11:libcli11-dev ZLIB:zlib1g-dev)
scratch_build_by_default(SCRATCH_BUILD_TESTS tests Catch2:catch2 CLI11:libcli11-dev ZLIB:zlib1g-dev)

if(SCRATCH_BUILD_EXAMPLES)
  scratch_dependency(CLI11 CLI11::CLI11 libcli11-dev 2.1 GIT_REPOSITORY https://github.com/CLIUtils/CLI11.git
                     GIT_TAG 6c7b07a878ad834957b98d0f9ce1dbe0cb204fc9)
endif()

if(SCRATCH_BUILD_TESTS)
  # Catch2 is compiled, not only included: a download is built as its own project says.
  find_package(Catch2 QUIET)
  if(NOT Catch2_FOUND AND NOT SCRATCH_FETCH_DEPENDENCIES)
    message(FATAL_ERROR "The tests need Catch2. On Debian or Ubuntu:\n  apt-get install catch2")
  elseif(NOT Catch2_FOUND)
    FetchContent_Declare(
      Catch2 SYSTEM
      GIT_REPOSITORY https://github.com/catchorg/Catch2.git
      GIT_TAG fa43b77429ba76c462b1898d6cd2f2d7a9416b14)
    FetchContent_MakeAvailable(Catch2)
    set(Catch2_VERSION 3.7.1)
  endif()
endif()
