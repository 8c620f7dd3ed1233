# rlgaf_catch_tests(NAME PACKAGES component... OPTIMIZE flag SOURCES source...)
#
# One program of Catch2 tests, version 2 or 3, and one ctest for each of its sources, picked by the tag that Catch2
# makes of the file's name. No sources, no program; a missing package is one status line.
if(NOT TARGET Catch2::Catch2WithMain)
  rlgaf_find(Catch2 Catch2::Catch2)
endif()

function(rlgaf_catch_tests name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "OPTIMIZE" "PACKAGES;SOURCES")
  if(NOT arg_SOURCES)
    return()
  endif()
  list(TRANSFORM arg_PACKAGES PREPEND "rlgaf::" OUTPUT_VARIABLE packages)
  foreach(target Catch2::Catch2 ${packages})
    if(NOT TARGET ${target})
      message(STATUS "rlgaf: ${name} skipped, because of missing ${target}")
      return()
    endif()
  endforeach()

  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${packages} rlgaf_own_flags)
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests")
  target_compile_definitions(${name} PRIVATE RLGAF_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  # Light optimisation compiles fast; assertions of Eigen and xtensor stay on. What the sanitizers insert takes four times as
  # long to optimise as to run.
  if(RLGAF_SANITIZE)
    set(arg_OPTIMIZE -O0)
  endif()
  target_compile_options(${name} PRIVATE "$<$<CXX_COMPILER_ID:GNU,Clang,AppleClang>:${arg_OPTIMIZE};-g0;-UNDEBUG>")
  if(TARGET OpenMP::OpenMP_CXX AND NOT RLGAF_SANITIZE)  # the sanitizers do not know the OpenMP runtime
    target_link_libraries(${name} PRIVATE OpenMP::OpenMP_CXX)
  endif()
  if(TARGET Catch2::Catch2WithMain)
    target_link_libraries(${name} PRIVATE Catch2::Catch2WithMain)
    set(empty_is_failure "")  # version 3 does that by itself
  else()
    target_sources(${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests/support/main.cpp")
    set_source_files_properties("${PROJECT_SOURCE_DIR}/tests/support/main.cpp" PROPERTIES
      SKIP_PRECOMPILE_HEADERS ON)
    target_link_libraries(${name} PRIVATE Catch2::Catch2)
    set(empty_is_failure --warn NoTests)
  endif()
  if(NOT name STREQUAL "torch_tests")  # torch wants to be included first, and a single source gains nothing
    target_precompile_headers(${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests/support/catch.hpp")
  endif()

  foreach(source IN LISTS arg_SOURCES)
    cmake_path(GET source STEM tag)
    cmake_path(RELATIVE_PATH source BASE_DIRECTORY "${PROJECT_SOURCE_DIR}/tests" OUTPUT_VARIABLE path)
    string(REGEX REPLACE "\\.cpp$" "" path "${path}")
    add_test(NAME "${path}" COMMAND ${name} --filenames-as-tags ${empty_is_failure} "[#${tag}]~[.]")
    set_tests_properties("${path}" PROPERTIES LABELS ${name} TIMEOUT 300)
  endforeach()
endfunction()
