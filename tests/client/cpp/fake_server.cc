#include "tests/client/cpp/fake_server.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "proto/pagoda/v1/inference.grpc.pb.h"

namespace pagoda {
namespace {

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

}  // namespace

class FakeServer::Service final : public v1::Inference::Service {
 public:
  explicit Service(FakeServer::Generate generate) : generate_(std::move(generate)) {}

  grpc::Status Generate(grpc::ServerContext* context,
                        const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateResponse>* writer) override {
    return ToGrpc(generate_(
        *request,
        [writer](const v1::GenerateResponse& response) { writer->Write(response); },
        [context] { return context->IsCancelled(); }));
  }

  grpc::Status Cancel(grpc::ServerContext*,
                      const v1::CancelRequest* request,
                      v1::CancelResponse*) override {
    if (request->id() == "req-1") return grpc::Status::OK;
    return ToGrpc(absl::NotFoundError(absl::StrCat("no unfinished request ", request->id())));
  }

  grpc::Status Tokenize(grpc::ServerContext*,
                        const v1::TokenizeRequest* request,
                        v1::TokenizeResponse* response) override {
    for (const char c : request->text()) response->add_ids(static_cast<uint8_t>(c));
    return grpc::Status::OK;
  }

  grpc::Status GetModel(grpc::ServerContext*,
                        const v1::GetModelRequest*,
                        v1::GetModelResponse* response) override {
    response->set_name("demo");
    response->set_architecture("LlamaForCausalLM");
    response->set_dtype("bfloat16");
    response->set_vocab_size(2048);
    response->set_max_model_len(1024);
    response->set_block_size(16);
    response->set_num_blocks(99);
    response->set_system_fingerprint("fp");
    response->set_version("0.1.0");
    return grpc::Status::OK;
  }

 private:
  const FakeServer::Generate generate_;
};

struct FakeServer::Impl {
  explicit Impl(Generate generate) : service(std::move(generate)) {}
  Service service;
  std::unique_ptr<grpc::Server> server;
};

FakeServer::FakeServer(Generate generate) : impl_(std::make_unique<Impl>(std::move(generate))) {
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&impl_->service);
  impl_->server = builder.BuildAndStart();
  CHECK_NE(port, 0);
  address_ = absl::StrCat("127.0.0.1:", port);
}

FakeServer::~FakeServer() { impl_->server->Shutdown(std::chrono::system_clock::now()); }

v1::GenerateResponse AcceptedResponse() {
  v1::GenerateResponse response;
  v1::Accepted* accepted = response.mutable_accepted();
  accepted->set_id("req-1");
  accepted->set_prompt_tokens(3);
  accepted->set_seed(~uint64_t{0});
  accepted->set_model("demo");
  accepted->set_system_fingerprint("fp");
  return response;
}

v1::GenerateResponse DeltaResponse(uint32_t token_offset,
                                   uint64_t text_offset,
                                   const std::vector<uint32_t>& tokens,
                                   const std::string& text) {
  v1::GenerateResponse response;
  v1::Delta* delta = response.mutable_delta();
  delta->set_token_offset(token_offset);
  delta->set_num_tokens(static_cast<uint32_t>(tokens.size()));
  delta->set_text_offset(text_offset);
  delta->set_text(text);
  delta->mutable_token_ids()->Assign(tokens.begin(), tokens.end());
  return response;
}

v1::GenerateResponse FinishedResponse(v1::FinishReason reason, uint32_t tokens) {
  v1::GenerateResponse response;
  v1::Finished* finished = response.mutable_finished();
  v1::Choice* choice = finished->add_choices();
  choice->set_finish_reason(reason);
  choice->set_completion_tokens(tokens);
  finished->mutable_usage()->set_prompt_tokens(3);
  finished->mutable_usage()->set_completion_tokens(tokens);
  return response;
}

}  // namespace pagoda
