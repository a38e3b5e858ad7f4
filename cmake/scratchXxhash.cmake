# SPDX-License-Identifier: MIT
#
# Where xxhash.h is, by the same lines for a build tree and for an installed copy. The library compiles it in
# (XXH_INLINE_ALL), so that there is nothing to link, and no target of somebody else's is made or exported.

# scratch_locate_xxhash(<variable>): the directories, empty where there are none. Of a package that has a target, as
# Conan's and vcpkg's, they are the target's.
function(scratch_locate_xxhash variable)
  list(PREPEND CMAKE_MODULE_PATH "${CMAKE_CURRENT_FUNCTION_LIST_DIR}")
  set(targets xxHash::xxhash xxHash::xxHash xxhash::xxhash)
  set(there "")
  foreach(target IN LISTS targets)
    if(TARGET ${target})
      list(APPEND there ${target})
    endif()
  endforeach()
  if(NOT there)
    find_package(xxHash 0.8 QUIET)
  endif()
  set(${variable} "${xxHash_INCLUDE_DIR}" PARENT_SCOPE)
  foreach(target IN LISTS targets)
    if(TARGET ${target})
      get_target_property(directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
      if(directories)
        set(${variable} "${directories}" PARENT_SCOPE)
      endif()
    endif()
  endforeach()
endfunction()
