// An Inference server in this process that says what a test tells it to.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/pagoda/v1/inference.pb.h"

namespace pagoda {

class FakeServer {
 public:
  // What Generate does: sees the request, writes responses, answers the end. `cancelled` tells
  // whether the client is gone.
  using Write = std::function<void(const v1::GenerateResponse&)>;
  using Generate = std::function<absl::Status(const v1::GenerateRequest& request,
                                              const Write& write,
                                              std::function<bool()> cancelled)>;

  explicit FakeServer(Generate generate);
  virtual ~FakeServer();

  const std::string& address() const { return address_; }

 private:
  class Service;
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::string address_;
};

// Responses as a server would write them.
v1::GenerateResponse AcceptedResponse();
v1::GenerateResponse DeltaResponse(uint32_t token_offset,
                                   uint64_t text_offset,
                                   const std::vector<uint32_t>& tokens,
                                   const std::string& text);
v1::GenerateResponse FinishedResponse(v1::FinishReason reason, uint32_t tokens);

}  // namespace pagoda
