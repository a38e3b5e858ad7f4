# SPDX-License-Identifier: MIT
#
# `cmake -B b && cmake --install b` in SOURCE, where nothing is installed that only tests and examples need.
file(REMOVE_RECURSE ${BUILD} ${BUILD}-installed)
foreach(package IN ITEMS CLI11 Catch2 ZLIB)
  list(APPEND without -DCMAKE_DISABLE_FIND_PACKAGE_${package}=ON)
endforeach()
execute_process(COMMAND ${CMAKE_COMMAND} -S ${SOURCE} -B ${BUILD} ${OPTIONS} ${without} OUTPUT_VARIABLE said
                ERROR_VARIABLE said COMMAND_ERROR_IS_FATAL ANY)
foreach(words IN ITEMS "the examples are not built, they need CLI11 (Debian: libcli11-dev)"
                       "the tests are not built, they need Catch2 (Debian: catch2)")
  string(FIND "${said}" "${words}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "it does not say \"${words}\":\n${said}")
  endif()
endforeach()
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${BUILD}-installed OUTPUT_QUIET
                COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${BUILD}-installed/component --component scratch
                OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
foreach(file IN ITEMS include/scratch/scratch.hpp share/cmake/scratch/scratchConfig.cmake share/pkgconfig/scratch.pc
                      share/licenses/scratch/LICENSE)
  foreach(prefix IN ITEMS ${BUILD}-installed ${BUILD}-installed/component)
    if(NOT EXISTS ${prefix}/${file})
      message(FATAL_ERROR "${prefix}/${file} was not installed")
    endif()
  endforeach()
endforeach()
