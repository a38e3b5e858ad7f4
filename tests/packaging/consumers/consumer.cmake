# SPDX-License-Identifier: MIT
#
# What each consumer project does once it has scratch::scratch: builds the program, and looks for anything of ours that
# came along uninvited.
if(NOT TARGET scratch::scratch)
  message(FATAL_ERROR "there is no target scratch::scratch")
endif()

add_executable(consumer ${CMAKE_CURRENT_LIST_DIR}/consumer.cpp)
target_link_libraries(consumer PRIVATE scratch::scratch)

# The command that compiles a program that links us has directories of headers and a definition more than the one of a
# program that does not, and nothing else.
add_executable(alone ${CMAKE_CURRENT_LIST_DIR}/alone.cpp)
target_compile_features(alone PRIVATE cxx_std_20)
set_target_properties(alone consumer PROPERTIES EXPORT_COMPILE_COMMANDS ON)
add_custom_command(
  TARGET consumer POST_BUILD COMMAND ${CMAKE_COMMAND} -D COMMANDS=${CMAKE_BINARY_DIR}/compile_commands.json
                                     -P ${CMAKE_CURRENT_LIST_DIR}/flags.cmake VERBATIM)
foreach(property IN ITEMS INTERFACE_COMPILE_OPTIONS INTERFACE_LINK_OPTIONS INTERFACE_LINK_DIRECTORIES
                          INTERFACE_SOURCES INTERFACE_PRECOMPILE_HEADERS)
  get_target_property(value scratch::scratch ${property})
  if(value)
    message(FATAL_ERROR "scratch::scratch has ${property}: ${value}")
  endif()
endforeach()

foreach(variable IN ITEMS CMAKE_CXX_STANDARD CMAKE_CXX_FLAGS CMAKE_MODULE_PATH CMAKE_CXX_COMPILE_OPTIONS BUILD_TESTING
                          CMAKE_COMPILE_WARNING_AS_ERROR THREADS_PREFER_PTHREAD_FLAG)
  if(NOT "${${variable}}" STREQUAL "")
    message(FATAL_ERROR "${variable} became \"${${variable}}\"")
  endif()
endforeach()
get_directory_property(options COMPILE_OPTIONS)
get_directory_property(definitions COMPILE_DEFINITIONS)
get_directory_property(tests TESTS)
if(NOT "${options}${definitions}${tests}" STREQUAL "")
  message(FATAL_ERROR "the consumer's directory received: ${options} ${definitions} ${tests}")
endif()
