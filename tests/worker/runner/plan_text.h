// Plans in text format, for tests.
#pragma once

#include <google/protobuf/text_format.h>

#include <string>

#include "common/check.h"
#include "proto/pagoda/v1/worker.pb.h"

namespace pagoda {

inline v1::Plan ParsePlan(const std::string& text) {
  v1::Plan plan;
  CHECK(google::protobuf::TextFormat::ParseFromString(text, &plan)) << text;
  return plan;
}

}  // namespace pagoda
