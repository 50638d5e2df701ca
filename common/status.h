// Macros over absl::Status and absl::StatusOr, the only way an operating failure travels.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the enclosing function when `expr` (an absl::Status) is not OK.
#define RETURN_IF_ERROR(...)                      \
  do {                                            \
    ::absl::Status pagoda_status = (__VA_ARGS__); \
    if (!pagoda_status.ok()) [[unlikely]]         \
      return pagoda_status;                       \
  } while (false)

// Evaluates `expr` (an absl::StatusOr) and either returns its error from the enclosing function or
// moves its value into `lhs`, which may be a declaration: ASSIGN_OR_RETURN(auto file, Open(path));
#define ASSIGN_OR_RETURN(lhs, ...) \
  PAGODA_ASSIGN_OR_RETURN_IMPL(PAGODA_STATUS_CONCAT(pagoda_or_, __COUNTER__), lhs, __VA_ARGS__)

#define PAGODA_ASSIGN_OR_RETURN_IMPL(tmp, lhs, ...) \
  auto tmp = (__VA_ARGS__);                         \
  if (!tmp.ok()) [[unlikely]]                       \
    return std::move(tmp).status();                 \
  lhs = *std::move(tmp)
#define PAGODA_STATUS_CONCAT(a, b) PAGODA_STATUS_CONCAT_IMPL(a, b)
#define PAGODA_STATUS_CONCAT_IMPL(a, b) a##b
