# Targets of one shape for every layer: a static library, its test program, shared warnings and precompiled headers.

add_library(pgmint_options INTERFACE)
target_include_directories(pgmint_options INTERFACE "${CMAKE_SOURCE_DIR}/src")
target_compile_options(pgmint_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Wold-style-cast -Werror
  -fno-omit-frame-pointer)
target_compile_definitions(pgmint_options INTERFACE PGMINT_VERSION="${PROJECT_VERSION}" SPDLOG_FMT_EXTERNAL
  _FILE_OFFSET_BITS=64)
target_link_libraries(pgmint_options INTERFACE Threads::Threads fmt::fmt tl::expected)
# At -O2, GCC 12 sees overruns in the move of its own std::string (32 bytes: the small-string buffer). The dev preset
# (-O1) and clang-tidy keep these warnings.
target_compile_options(pgmint_options INTERFACE
  "$<$<AND:$<CONFIG:Release>,$<CXX_COMPILER_ID:GNU>>:-Wno-array-bounds;-Wno-restrict;-Wno-stringop-overflow>")
if(PGMINT_SANITIZE)
  target_compile_options(pgmint_options INTERFACE -fsanitize=${PGMINT_SANITIZE} -fno-sanitize-recover=all)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Instrumented, GCC 12 takes parts of its own <regex> for uninitialised. The other presets keep the warning.
    target_compile_options(pgmint_options INTERFACE -Wno-maybe-uninitialized)
  endif()
  target_link_options(pgmint_options INTERFACE -fsanitize=${PGMINT_SANITIZE})
endif()
if(PGMINT_FUZZ)
  target_compile_options(pgmint_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Headers that nearly every source needs, compiled once.
add_library(pgmint_pch OBJECT "${CMAKE_SOURCE_DIR}/cmake/pch.cc")
target_link_libraries(pgmint_pch PRIVATE pgmint_options)
target_precompile_headers(pgmint_pch PRIVATE
  <algorithm> <array> <chrono> <cstdint> <functional> <map> <memory> <optional> <set> <span> <string> <string_view>
  <thread> <mutex> <condition_variable> <unordered_map> <utility> <vector> <fmt/format.h> <tl/expected.hpp>)

add_library(pgmint_test_pch OBJECT "${CMAKE_SOURCE_DIR}/cmake/pch.cc")
target_link_libraries(pgmint_test_pch PRIVATE pgmint_options GTest::gtest)
target_precompile_headers(pgmint_test_pch PRIVATE
  <algorithm> <array> <chrono> <cstdint> <functional> <map> <memory> <optional> <set> <span> <string> <string_view>
  <thread> <mutex> <condition_variable> <unordered_map> <utility> <vector> <fmt/format.h> <tl/expected.hpp>
  <gtest/gtest.h>)

# pgmint_layer(storage SOURCES a.cc b.cc TESTS a_test.cc DEPENDS base crypto LIBRARIES PkgConfig::ZSTD)
#   library pgmint_storage, test program storage_test (ctest runs it as one test).
function(pgmint_layer name)
  cmake_parse_arguments(L "" "" "SOURCES;TESTS;DEPENDS;LIBRARIES;TEST_LIBRARIES" ${ARGN})
  add_library(pgmint_${name} STATIC ${L_SOURCES})
  target_link_libraries(pgmint_${name} PUBLIC pgmint_options PRIVATE ${L_LIBRARIES})
  foreach(dependency IN LISTS L_DEPENDS)
    target_link_libraries(pgmint_${name} PUBLIC pgmint_${dependency})
  endforeach()
  target_precompile_headers(pgmint_${name} REUSE_FROM pgmint_pch)
  if(L_TESTS)
    pgmint_test(${name}_test SOURCES ${L_TESTS} LIBRARIES pgmint_${name} ${L_TEST_LIBRARIES})
  endif()
endfunction()

# A gtest program; ctest gives it ten minutes and the source tree as working directory.
function(pgmint_test name)
  cmake_parse_arguments(T "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${T_SOURCES})
  target_link_libraries(${name} PRIVATE pgmint_options ${T_LIBRARIES} GTest::gtest GTest::gtest_main)
  target_precompile_headers(${name} REUSE_FROM pgmint_test_pch)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
  set_tests_properties(${name} PROPERTIES TIMEOUT 600)
endfunction()

# A gtest program that others run, once there is what it tests against.
function(pgmint_program_test name)
  cmake_parse_arguments(T "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${T_SOURCES})
  target_link_libraries(${name} PRIVATE pgmint_options ${T_LIBRARIES} GTest::gtest GTest::gtest_main)
  target_precompile_headers(${name} REUSE_FROM pgmint_test_pch)
endfunction()

# ccache tells precompiled headers apart by this sum instead of their bytes, which differ from checkout to checkout: so that
# several checkouts share one cache. It covers what the headers are made of.
foreach(pch pgmint_pch pgmint_test_pch)
  set(sum "${CMAKE_CXX_COMPILER_VERSION} ${CMAKE_CXX_FLAGS} ${CMAKE_BUILD_TYPE} ${PGMINT_SANITIZE} ${fmt_VERSION} ${GTest_VERSION}")
  get_target_property(headers ${pch} PRECOMPILE_HEADERS)
  string(SHA256 sum "${sum} ${headers}")
  file(WRITE "${CMAKE_BINARY_DIR}/CMakeFiles/${pch}.dir/cmake_pch.hxx.gch.sum" "${sum}\n")
endforeach()
