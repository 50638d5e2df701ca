# nvcc and its flags, for the cuda preset. CMAKE_CUDA_COMPILER is set by scripts/build.sh.

# Machine code for the two that are built for; newer ones compile the PTX of the first.
set(CMAKE_CUDA_ARCHITECTURES 80 90a-real)
set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -lineinfo")
enable_language(CUDA)
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)  # Debian's CMake does not know nvcc's C++20

# FMA is written out and denormals are flushed, as kernels/NUMERICS.md says. A spilled register is
# an error: a kernel that spills is to be made smaller.
add_library(pagoda_cuda_options INTERFACE)
target_compile_options(pagoda_cuda_options INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-fmad=false
  -ftz=true --expt-relaxed-constexpr -Werror=all-warnings -Xptxas=-warn-spills,-Werror
  -Xcompiler=-Wall,-Wextra,-Werror,-ffp-contract=off,-Wno-missing-field-initializers>)
target_include_directories(pagoda_cuda_options SYSTEM INTERFACE
                           ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
