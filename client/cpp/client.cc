#include "client/cpp/client.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/messages.h"
#include "common/status.h"
#include "proto/pagoda/v1/inference.grpc.pb.h"

namespace pagoda {
namespace {

using client_internal::CheckUtf8;
using client_internal::FromProto;
using client_internal::ToProto;

// Codes are the same on both sides.
absl::Status FromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

void SetTimeout(absl::Duration timeout, grpc::ClientContext* context) {
  if (timeout == absl::InfiniteDuration()) return;
  context->set_deadline(std::chrono::system_clock::now() + absl::ToChronoMicroseconds(timeout));
}

class GrpcGeneration final : public Generation {
 public:
  GrpcGeneration(const std::shared_ptr<v1::Inference::Stub>& stub,
                 const v1::GenerateRequest& request,
                 absl::Duration timeout)
      : stub_(stub), choices_(request.has_n() ? request.n() : 1) {
    SetTimeout(timeout, &context_);
    reader_ = stub_->Generate(&context_, request);
  }

  ~GrpcGeneration() override {
    if (over_) return;
    context_.TryCancel();
    v1::GenerateResponse rest;
    while (reader_->Read(&rest)) {
    }
    reader_->Finish();
  }

  std::optional<Event> Next() override {
    v1::GenerateResponse response;
    while (!over_ && reader_->Read(&response)) {
      std::optional<Event> event = FromProto(std::move(response));
      if (!event.has_value()) continue;
      status_ = Check(*event);
      if (status_.ok()) return event;
      context_.TryCancel();
      break;
    }
    Finish();
    return std::nullopt;
  }

  absl::Status status() const override { return status_; }

  void Cancel() override { context_.TryCancel(); }

 private:
  struct Position {
    uint32_t tokens = 0;
    uint64_t bytes = 0;
  };

  // Every event must follow from those before it.
  absl::Status Check(const Event& event) {
    if (const auto* finished = std::get_if<Finished>(&event)) {
      finished_ = true;
      for (const Finished::Choice& choice : finished->choices) {
        if (choice.index >= choices_) return NoSuchChoice(choice.index);
      }
    }
    const auto* delta = std::get_if<Delta>(&event);
    if (delta == nullptr) return absl::OkStatus();
    if (delta->index >= choices_) return NoSuchChoice(delta->index);
    Position& position = positions_[delta->index];
    if (delta->token_offset != position.tokens || delta->text_offset != position.bytes) {
      return absl::DataLossError(absl::StrCat("the stream has a gap: at token ",
                                              position.tokens,
                                              ", byte ",
                                              position.bytes,
                                              " comes token ",
                                              delta->token_offset,
                                              ", byte ",
                                              delta->text_offset));
    }
    position.tokens += delta->num_tokens;
    position.bytes += delta->text.size();
    return absl::OkStatus();
  }

  absl::Status NoSuchChoice(uint32_t index) const {
    return absl::DataLossError(
        absl::StrCat("the stream has choice ", index, "; the request has ", choices_));
  }

  void Finish() {
    if (over_) return;
    over_ = true;
    status_.Update(FromGrpc(reader_->Finish()));
    if (status_.ok() && !finished_) {
      status_ = absl::InternalError("the server ended the stream without its last message");
    }
  }

  // Shared with the client, which the generation may outlive.
  const std::shared_ptr<v1::Inference::Stub> stub_;
  const uint32_t choices_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> reader_;
  std::map<uint32_t, Position> positions_;  // by choice
  bool finished_ = false;                   // the last message came
  bool over_ = false;                       // status_ is final
  absl::Status status_;
};

class GrpcClient final : public Client {
 public:
  explicit GrpcClient(const std::shared_ptr<grpc::Channel>& channel)
      : stub_(v1::Inference::NewStub(channel)) {}

  absl::StatusOr<std::unique_ptr<Generation>> Start(const GenerateRequest& request) override {
    v1::GenerateRequest message;
    RETURN_IF_ERROR(ToProto(request, &message));
    return std::make_unique<GrpcGeneration>(stub_, message, request.timeout);
  }

  absl::Status Cancel(const std::string& id) override {
    RETURN_IF_ERROR(CheckUtf8("the id", id));
    v1::CancelRequest request;
    request.set_id(id);
    grpc::ClientContext context;
    v1::CancelResponse response;
    return FromGrpc(stub_->Cancel(&context, request, &response));
  }

  absl::StatusOr<std::vector<uint32_t>> Tokenize(const std::string& text) override {
    RETURN_IF_ERROR(CheckUtf8("the text", text));
    v1::TokenizeRequest request;
    request.set_text(text);
    grpc::ClientContext context;
    v1::TokenizeResponse response;
    RETURN_IF_ERROR(FromGrpc(stub_->Tokenize(&context, request, &response)));
    return std::vector<uint32_t>(response.ids().begin(), response.ids().end());
  }

  absl::StatusOr<ModelInfo> GetModel(absl::Duration timeout) override {
    grpc::ClientContext context;
    SetTimeout(timeout, &context);
    v1::GetModelResponse response;
    RETURN_IF_ERROR(FromGrpc(stub_->GetModel(&context, v1::GetModelRequest(), &response)));
    return FromProto(response);
  }

 private:
  const std::shared_ptr<v1::Inference::Stub> stub_;
};

// Takes what a delta brought into its choice.
void Append(const Delta& delta, Completion* completion) {
  if (completion->choices.size() <= delta.index) completion->choices.resize(delta.index + 1);
  Completion::Choice& choice = completion->choices[delta.index];
  choice.text += delta.text;
  choice.token_ids.insert(choice.token_ids.end(), delta.token_ids.begin(), delta.token_ids.end());
  choice.logprobs.insert(choice.logprobs.end(), delta.logprobs.begin(), delta.logprobs.end());
}

void Append(const Finished& finished, Completion* completion) {
  for (const Finished::Choice& from : finished.choices) {
    if (completion->choices.size() <= from.index) completion->choices.resize(from.index + 1);
    Completion::Choice& choice = completion->choices[from.index];
    choice.reason = from.reason;
    choice.completion_tokens = from.completion_tokens;
  }
  completion->prompt_tokens = finished.prompt_tokens;
  completion->completion_tokens = finished.completion_tokens;
}

}  // namespace

absl::string_view FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kUnknown:
      return "unknown";
  }
  return "unknown";
}

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const std::string& address,
                                                        absl::Duration timeout) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // a cluster is talked to directly
  const std::shared_ptr<grpc::Channel> channel =
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  const auto deadline = std::chrono::system_clock::now() + absl::ToChronoMicroseconds(timeout);
  if (!channel->WaitForConnected(deadline)) {
    return absl::UnavailableError(absl::StrCat("no Pagoda server at ",
                                               address,
                                               " (waited ",
                                               absl::FormatDuration(timeout),
                                               ")"));
  }
  return std::make_unique<GrpcClient>(channel);
}

absl::StatusOr<Completion> Client::Generate(const GenerateRequest& request,
                                            const std::function<void(const Delta&)>& on_delta) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Generation> generation, Start(request));
  Completion completion;
  while (std::optional<Event> event = generation->Next()) {
    if (auto* accepted = std::get_if<Accepted>(&*event)) {
      completion.accepted = std::move(*accepted);
    } else if (const auto* delta = std::get_if<Delta>(&*event)) {
      Append(*delta, &completion);
      if (on_delta != nullptr) on_delta(*delta);
    } else {
      Append(std::get<Finished>(*event), &completion);
    }
  }
  RETURN_IF_ERROR(generation->status());
  return completion;
}

}  // namespace pagoda
