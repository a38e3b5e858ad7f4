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
# Sets scratch_uring_missing when it was demanded and cannot be had.
macro(scratch_use_uring target)
  set(scratch_uring_missing FALSE)
  if(SCRATCH_WITH_URING STREQUAL "AUTO" OR SCRATCH_WITH_URING)
    find_package(liburing 2.0 QUIET GLOBAL)
    if(liburing_FOUND)
      target_link_libraries(${target} INTERFACE $<BUILD_INTERFACE:liburing::liburing>)
      target_compile_definitions(${target} INTERFACE $<BUILD_INTERFACE:SCRATCH_WITH_URING=1>)
    elseif(NOT SCRATCH_WITH_URING STREQUAL "AUTO")
      set(scratch_uring_missing TRUE)
    endif()
  endif()
endmacro()
