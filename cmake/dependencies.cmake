# SPDX-License-Identifier: MIT
#
# What the library needs: the installed copy first, a download of a pinned commit second. Downloads give headers only
# and imported targets, so that an export of ours never has to carry somebody else's target.
include(FetchContent)
list(PREPEND CMAKE_MODULE_PATH "${CMAKE_CURRENT_LIST_DIR}")

# scratch_dependency(<package> <imported target> <include directory in the download> <Debian package>
#                    <git url> <commit> [arguments of find_package])
function(scratch_dependency package target include_dir debian url commit)
  if(TARGET ${target})
    return()
  endif()
  if(NOT SCRATCH_FETCH_DEPENDENCIES)
    find_package(${package} ${ARGN} QUIET GLOBAL)
    if(NOT ${package}_FOUND)
      message(FATAL_ERROR "scratch needs ${package}, which is not installed. On Debian or Ubuntu:\n"
                          "  apt-get install ${debian}\n"
                          "or let it be downloaded: -DSCRATCH_FETCH_DEPENDENCIES=ON")
    endif()
    return()
  endif()
  FetchContent_Declare(
    ${package} SYSTEM
    GIT_REPOSITORY ${url}
    GIT_TAG ${commit}
    SOURCE_SUBDIR only-its-headers
    FIND_PACKAGE_ARGS ${ARGN} GLOBAL)
  FetchContent_MakeAvailable(${package})
  if(NOT TARGET ${target})
    string(TOLOWER ${package} name)
    add_library(${target} INTERFACE IMPORTED GLOBAL)
    target_include_directories(${target} INTERFACE "${${name}_SOURCE_DIR}/${include_dir}")
  endif()
endfunction()

scratch_dependency(
  nlohmann_json nlohmann_json::nlohmann_json include nlohmann-json3-dev
  https://github.com/nlohmann/json.git 9cca280a4d0ccf0c08f47a99aa71d1b0e52f8d03 3.9)
scratch_dependency(
  xxHash xxHash::xxHash . libxxhash-dev
  https://github.com/Cyan4973/xxHash.git bbb27a5efb85b92a0486cf361a8635715a53f6ba 0.8)

find_package(Threads REQUIRED GLOBAL)

if(SCRATCH_BUILD_EXAMPLES)
  scratch_dependency(
    CLI11 CLI11::CLI11 include libcli11-dev
    https://github.com/CLIUtils/CLI11.git 6c7b07a878ad834957b98d0f9ce1dbe0cb204fc9 2.1)
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
