# The project's few CMake functions. A target stands for one folder: pagoda_library(worker/model …)
# makes target pagoda_worker_model. DEPS are folders of this project and are exactly the folders
# whose headers the target may include; LINKS are external targets.

option(PAGODA_INVARIANTS "Check the core's invariants after every event" OFF)
option(PAGODA_CUDA "Build device code with nvcc; else it is built for the fake device" OFF)
option(PAGODA_PURE "Only targets that link neither gRPC nor Rust (ThreadSanitizer)" OFF)
set(PAGODA_SANITIZE "" CACHE STRING "Value of -fsanitize= for every target")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")       # no NDEBUG: CHECKs stay on in release
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1 -fno-omit-frame-pointer")
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(THREADS_PREFER_PTHREAD_FLAG ON)

find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(GTest REQUIRED)
find_package(Gloo REQUIRED)
# ThreadSanitizer cannot follow the fibers of the fake device.
set(PAGODA_DEVICE_CODE ON)
if(PAGODA_SANITIZE STREQUAL "thread")
  set(PAGODA_DEVICE_CODE OFF)
elseif(NOT PAGODA_CUDA)
  find_package(Boost 1.81 REQUIRED COMPONENTS context)
endif()
if(NOT PAGODA_PURE)
  set(protobuf_MODULE_COMPATIBLE ON)
  find_package(Protobuf REQUIRED)
  find_package(gRPC REQUIRED)
endif()

add_library(pagoda_options INTERFACE)
target_include_directories(pagoda_options INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/gen)
# FMA is written out where it is meant (kernels/NUMERICS.md); the compiler never contracts a*b+c.
target_compile_options(pagoda_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Werror
  -ffp-contract=off
  -Wno-missing-field-initializers>)  # designated initialisers name what is not the default
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(pagoda_options INTERFACE -Wthread-safety)
endif()
if(PAGODA_INVARIANTS)
  target_compile_definitions(pagoda_options INTERFACE PAGODA_INVARIANTS=1)
endif()
if(PAGODA_SANITIZE)
  add_compile_options(-fsanitize=${PAGODA_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${PAGODA_SANITIZE})
endif()
target_link_libraries(pagoda_options INTERFACE Threads::Threads)

function(_pagoda_target_name folder out)
  string(REPLACE "/" "_" name "pagoda_${folder}")
  set(${out} ${name} PARENT_SCOPE)
endfunction()

function(_pagoda_links out)
  set(links)
  foreach(dep IN LISTS ARGN)
    _pagoda_target_name(${dep} name)
    list(APPEND links ${name})
  endforeach()
  set(${out} ${links} PARENT_SCOPE)
endfunction()

# Library pagoda_rust_text: the project's one Rust staticlib. cargo builds it once, in build/rust,
# for every preset (so it is never sanitised), when a target that links it is built and an input
# changed.
if(NOT PAGODA_PURE)
  set(rust_crate ${PROJECT_SOURCE_DIR}/coordinator/text/rust)
  set(rust_archive ${PROJECT_SOURCE_DIR}/build/rust/release/libpagoda_text.a)
  set(rust_script ${PROJECT_SOURCE_DIR}/scripts/rust.sh)
  file(GLOB_RECURSE rust_sources CONFIGURE_DEPENDS ${rust_crate}/src/*.rs)
  add_custom_command(
    OUTPUT ${rust_archive}
    COMMAND ${rust_script}
    DEPENDS ${rust_script} ${rust_crate}/Cargo.toml ${rust_crate}/Cargo.lock ${rust_sources}
    COMMENT "Building the Rust library (once for all presets)"
    VERBATIM)
  add_custom_target(pagoda_rust_text_build DEPENDS ${rust_archive})
  add_library(pagoda_rust_text STATIC IMPORTED GLOBAL)
  set_target_properties(pagoda_rust_text PROPERTIES IMPORTED_LOCATION ${rust_archive})
  target_link_libraries(pagoda_rust_text INTERFACE Threads::Threads ${CMAKE_DL_LIBS} m)
  add_dependencies(pagoda_rust_text pagoda_rust_text_build)
endif()

# pagoda_library(FOLDER SRCS a.cc… [HDRS a.h…] [DEPS folder…] [LINKS external…]); no SRCS = headers.
function(pagoda_library folder)
  cmake_parse_arguments(ARG "" "" "SRCS;HDRS;DEPS;LINKS" ${ARGN})
  _pagoda_target_name(${folder} name)
  _pagoda_links(deps ${ARG_DEPS})
  if(ARG_SRCS)
    add_library(${name} STATIC ${ARG_SRCS} ${ARG_HDRS})
    target_link_libraries(${name} PUBLIC pagoda_options ${deps} ${ARG_LINKS})
  else()
    add_library(${name} INTERFACE ${ARG_HDRS})
    target_link_libraries(${name} INTERFACE pagoda_options ${deps} ${ARG_LINKS})
  endif()
endfunction()

# pagoda_binary(NAME SRCS… DEPS… LINKS…): a program in build/<preset>/bin.
function(pagoda_binary name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS;LINKS" ${ARGN})
  _pagoda_links(deps ${ARG_DEPS})
  add_executable(${name} ${ARG_SRCS})
  target_link_libraries(${name} PRIVATE ${deps} ${ARG_LINKS} pagoda_options)
endfunction()

# pagoda_test(NAME SRCS… DEPS… [LINKS…] [LABELS…] [TIMEOUT seconds]): one GoogleTest program, one
# ctest entry.
function(pagoda_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SRCS;DEPS;LINKS;LABELS" ${ARGN})
  _pagoda_links(deps ${ARG_DEPS})
  add_executable(${name} ${ARG_SRCS})
  target_link_libraries(${name} PRIVATE ${deps} ${ARG_LINKS} pagoda_options
                        GTest::gtest GTest::gmock GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT})
  if(ARG_LABELS)
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}")
  endif()
endfunction()

# pagoda_cuda(TARGET): its .cu files hold device code. nvcc compiles them in the cuda preset, else
# the C++ compiler does, for the fake device of tests/testing/fake_cuda.
function(pagoda_cuda target)
  get_target_property(type ${target} TYPE)
  set(scope PUBLIC)
  if(type STREQUAL "EXECUTABLE")
    set(scope PRIVATE)
  endif()
  if(PAGODA_CUDA)
    target_link_libraries(${target} ${scope} pagoda_cuda_options)
    return()
  endif()
  target_include_directories(${target} BEFORE ${scope}
                             ${PROJECT_SOURCE_DIR}/tests/testing/fake_cuda/include)
  target_link_libraries(${target} ${scope} pagoda_tests_testing_fake_cuda)
  get_target_property(sources ${target} SOURCES)
  foreach(source IN LISTS sources)
    if(source MATCHES "\\.cu$")
      set_source_files_properties(${source} PROPERTIES LANGUAGE CXX
        COMPILE_OPTIONS "-x;c++;-Wno-unknown-pragmas")
    endif()
  endforeach()
  if(NOT type STREQUAL "EXECUTABLE")
    return()
  endif()
  # Every repetition is another schedule. A fake stack per fiber would cost more than its work does.
  set(schedules 5)
  if(PAGODA_SANITIZE)
    set(schedules 20)
  endif()
  # COST: what takes long begins first.
  set_tests_properties(${target} PROPERTIES TIMEOUT 600 COST 100 ENVIRONMENT
    "GTEST_REPEAT=${schedules};ASAN_OPTIONS=detect_stack_use_after_return=0:strict_string_checks=1")
endfunction()

# Target generated: every generated file, without compiling any (for clang-tidy).
add_custom_target(generated)

# pagoda_proto(FOLDER PROTOS a.proto… [GRPC]): C++ from .proto files into build/<preset>/gen.
function(pagoda_proto folder)
  cmake_parse_arguments(ARG "GRPC" "" "PROTOS;DEPS" ${ARGN})
  _pagoda_target_name(${folder} name)
  _pagoda_links(deps ${ARG_DEPS})
  set(gen ${PROJECT_BINARY_DIR}/gen)
  set(srcs)
  foreach(proto IN LISTS ARG_PROTOS)
    string(REGEX REPLACE "\\.proto$" "" stem ${folder}/${proto})
    set(outs ${gen}/${stem}.pb.cc ${gen}/${stem}.pb.h)
    set(args --cpp_out=${gen})
    if(ARG_GRPC)
      list(APPEND outs ${gen}/${stem}.grpc.pb.cc ${gen}/${stem}.grpc.pb.h)
      list(APPEND args --grpc_out=${gen}
           --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin>)
    endif()
    add_custom_command(
      OUTPUT ${outs}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${gen}
      COMMAND protobuf::protoc -I ${PROJECT_SOURCE_DIR} ${args}
              ${PROJECT_SOURCE_DIR}/${folder}/${proto}
      DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/${proto}
      VERBATIM)
    list(APPEND srcs ${outs})
  endforeach()
  add_custom_target(${name}_gen DEPENDS ${srcs})
  add_dependencies(generated ${name}_gen)
  add_library(${name} STATIC ${srcs})
  target_include_directories(${name} SYSTEM PUBLIC ${gen})
  target_link_libraries(${name} PUBLIC ${deps} protobuf::libprotobuf)
  if(ARG_GRPC)
    target_link_libraries(${name} PUBLIC gRPC::grpc++)
  endif()
endfunction()
