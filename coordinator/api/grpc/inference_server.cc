#include "coordinator/api/grpc/inference_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/version.h"
#include "coordinator/api/grpc/generate_call.h"
#include "coordinator/transport/rpc_status.h"
#include "proto/pagoda/v1/inference.grpc.pb.h"

namespace pagoda {
namespace {

// Above the longest prompt that Parse lets through, so that a longer one gets our message, not
// gRPC's.
constexpr int kMaxMessageBytes = 4 * kMaxPromptBytes;
constexpr auto kShutdownGrace = std::chrono::seconds(2);

class Service final : public v1::Inference::CallbackService {
 public:
  Service(Acceptor* acceptor, WorkPool* pool) : acceptor_(acceptor), pool_(pool) {}

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context,
      const v1::GenerateRequest* request) override {
    return GenerateCall::Start(acceptor_, pool_, context, request);
  }

  grpc::ServerUnaryReactor* Cancel(grpc::CallbackServerContext* context,
                                   const v1::CancelRequest* request,
                                   v1::CancelResponse*) override {
    return Answer(context, CancelStatus(*request));
  }

  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override {
    if (request->text().size() > kMaxPromptBytes) {
      return Answer(context,
                    absl::InvalidArgumentError(absl::StrCat("the text has ",
                                                            request->text().size(),
                                                            " bytes; the limit is ",
                                                            kMaxPromptBytes)));
    }
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const bool taken = pool_->TryRun([this, reactor, request, response] {
      const auto ids = acceptor_->tokenizer().Encode(request->text());
      if (ids.ok()) response->mutable_ids()->Assign(ids->begin(), ids->end());
      reactor->Finish(ToGrpc(ids.status()));
    });
    if (!taken) {
      reactor->Finish(
          ToGrpc(absl::ResourceExhaustedError("too much to tokenise: try again in 1 s")));
    }
    return reactor;
  }

  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest*,
                                     v1::GetModelResponse* response) override {
    const std::shared_ptr<const ServedModel> model = acceptor_->model();
    if (model == nullptr) {
      return Answer(context, absl::UnavailableError("no worker has loaded the model yet"));
    }
    response->set_name(model->name);
    response->set_architecture(model->architecture);
    response->set_dtype(model->dtype);
    response->set_vocab_size(model->vocab_size);
    response->set_max_model_len(model->capacity.max_model_len);
    response->set_block_size(model->capacity.block_size);
    response->set_num_blocks(model->capacity.num_blocks);
    response->set_system_fingerprint(model->fingerprint);
    response->set_version(kVersion);
    return Answer(context, absl::OkStatus());
  }

 private:
  static grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context,
                                          const absl::Status& status) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(status));
    return reactor;
  }

  absl::Status CancelStatus(const v1::CancelRequest& request) {
    if (!request.tenant().empty()) {
      return absl::UnimplementedError("this server does not have 'tenant' yet");
    }
    const std::optional<core::RequestId> id = ParseRequestName(request.id());
    if (!id.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", request.id(), "' is no request id: req- and 16 hexadecimal digits"));
    }
    return acceptor_->Cancel(*id);
  }

  Acceptor* const acceptor_;
  WorkPool* const pool_;
};

class Server final : public InferenceServer {
 public:
  Server(Acceptor* acceptor, WorkPool* pool) : service_(acceptor, pool) {}

  void Shutdown() override {
    server_->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
    server_->Wait();
  }

  absl::Status Start(const std::string& host, uint16_t port, grpc::Service* more) {
    const bool ipv6 = host.find(':') != std::string::npos;
    const std::string address = absl::StrCat(ipv6 ? "[" : "", host, ipv6 ? "]:" : ":", port);
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&service_);
    if (more != nullptr) builder.RegisterService(more);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return absl::UnavailableError(
          absl::StrCat("cannot listen on ", address, ": is the port taken?"));
    }
    return absl::OkStatus();
  }

  uint16_t port() const override { return static_cast<uint16_t>(port_); }
  void SetServing(bool serving) override {
    server_->GetHealthCheckService()->SetServingStatus(serving);
    server_->GetHealthCheckService()->SetServingStatus("pagoda.v1.Inference", serving);
  }

 private:
  Service service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<InferenceServer>> InferenceServer::Listen(const std::string& host,
                                                                         uint16_t port,
                                                                         Acceptor* acceptor,
                                                                         WorkPool* pool,
                                                                         grpc::Service* more) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  auto server = std::make_unique<Server>(acceptor, pool);
  if (absl::Status status = server->Start(host, port, more); !status.ok()) return status;
  server->SetServing(false);
  return server;
}

}  // namespace pagoda
