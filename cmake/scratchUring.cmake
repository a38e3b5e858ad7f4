# SPDX-License-Identifier: MIT
#
# Whether scratch uses io_uring is decided on the machine that compiles a program, by the same lines for a build tree
# and for an installed copy. Without liburing everything works through plain system calls.
#
# SCRATCH_WITH_URING: AUTO (when liburing 2.0 or newer is installed), ON (fail without it) or OFF.
if(NOT DEFINED SCRATCH_WITH_URING)
  set(SCRATCH_WITH_URING AUTO CACHE STRING "Use io_uring: AUTO, ON or OFF")
  set_property(CACHE SCRATCH_WITH_URING PROPERTY STRINGS AUTO ON OFF)
endif()

# Lets whatever links `target` use io_uring, when that was asked for and can be had.
# Sets scratch_uring_missing to why not, when it was demanded or misspelled.
function(scratch_use_uring target)
  set(scratch_uring_missing "" PARENT_SCOPE)
  string(TOUPPER "${SCRATCH_WITH_URING}" asked)
  if(NOT asked MATCHES "^(AUTO|ON|OFF|TRUE|FALSE|YES|NO|1|0)$")
    set(scratch_uring_missing "SCRATCH_WITH_URING is AUTO, ON or OFF, and not \"${SCRATCH_WITH_URING}\"" PARENT_SCOPE)
  elseif(asked STREQUAL "AUTO" OR asked)
    list(PREPEND CMAKE_MODULE_PATH "${CMAKE_CURRENT_FUNCTION_LIST_DIR}")
    find_package(liburing 2.0 QUIET GLOBAL)
    set(liburing_FOUND ${liburing_FOUND} PARENT_SCOPE)
    if(liburing_FOUND)
      target_link_libraries(${target} INTERFACE $<BUILD_INTERFACE:liburing::liburing>)
      target_compile_definitions(${target} INTERFACE $<BUILD_INTERFACE:SCRATCH_WITH_URING=1>)
    elseif(asked STREQUAL "AUTO")
      message(STATUS "scratch: liburing 2.0 or newer is not installed (Debian: liburing-dev): without io_uring")
    else()
      set(scratch_uring_missing
          "SCRATCH_WITH_URING is ON and liburing 2.0 or newer was not found. On Debian or Ubuntu:\n  apt-get install liburing-dev"
          PARENT_SCOPE)
    endif()
  endif()
endfunction()
