# SPDX-License-Identifier: MIT
#
# Installs BUILD, and then moves what was installed to STAGE: nothing in it may remember where it was put first.
file(REMOVE_RECURSE ${STAGE} ${STAGE}-first)
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${STAGE}-first COMMAND_ERROR_IS_FATAL ANY
                OUTPUT_QUIET)
file(RENAME ${STAGE}-first ${STAGE})
file(GLOB_RECURSE installed ${STAGE}/*.cmake ${STAGE}/*.pc)
foreach(file IN LISTS installed)
  file(READ ${file} text)
  foreach(place IN ITEMS ${STAGE} ${BUILD} ${CMAKE_CURRENT_LIST_DIR} x86_64)
    string(FIND "${text}" ${place} found)
    if(NOT found EQUAL -1)
      message(FATAL_ERROR "${file} remembers ${place}")
    endif()
  endforeach()
endforeach()
