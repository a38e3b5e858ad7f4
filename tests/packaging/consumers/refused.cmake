# SPDX-License-Identifier: MIT
#
# Configures SOURCE into BUILD with OPTIONS and expects to be refused, with WORDS.
file(REMOVE_RECURSE ${BUILD})
execute_process(
  COMMAND ${CMAKE_COMMAND} -S ${SOURCE} -B ${BUILD} ${OPTIONS}
  RESULT_VARIABLE result
  OUTPUT_VARIABLE output
  ERROR_VARIABLE output)
if(result EQUAL 0)
  message(FATAL_ERROR "not refused:\n${output}")
endif()
string(REGEX REPLACE "[ \n]+" " " flat "${output}")
string(FIND "${flat}" "${WORDS}" found)
if(found EQUAL -1)
  message(FATAL_ERROR "refused without \"${WORDS}\":\n${output}")
endif()
