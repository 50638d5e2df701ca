// A group of worker processes behind gRPC (worker.proto): one tensor-parallel replica.
//
//   dial -> LoadModel -> Profile -> (GroupJoined) -> wait for OpenEpoch -> Configure -> Steps
//    ^            (each on all ranks at once)                            (GroupLost)    |
//    +--------------------- over: on any rank, for any reason --------------------------+
//
// One thread of its own walks this path with blocking calls that have deadlines, one helper a rank
// where there are several; plans and answers go through StepStreams and need no thread. A rank that
// is lost ends the epoch of all; the others keep their weights and wait for the next.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "common/mutex.h"
#include "coordinator/transport/group_link.h"
#include "coordinator/transport/group_model.h"
#include "coordinator/transport/plan_encoder.h"
#include "coordinator/transport/pool_size.h"
#include "coordinator/transport/rank_link.h"
#include "coordinator/transport/step_stream.h"
#include "proto/pagoda/v1/worker.grpc.pb.h"

namespace pagoda {

struct GrpcGroupOptions {
  core::GroupId group;
  // By rank: gRPC target of the worker; empty: it will be Announced. At least one rank.
  std::vector<std::string> addresses;
  ModelSource source;
  PoolFlags pool;
  // How long a worker that was lost may take to answer before it is suspect.
  absl::Duration patience = absl::Seconds(10);
  // The first workers have the model; before the first GroupJoined. All later ones must have the
  // same model and get the same capacity.
  std::function<void(const GroupModel& model)> loaded;
  // The model or the flags cannot work with these workers: trying again would not help.
  std::function<void(absl::Status status)> hopeless;
  // A worker hangs: whoever can kill it should.
  std::function<void(uint32_t rank, absl::string_view reason)> suspect;
};

class GrpcGroup final : public GroupLink {
 public:
  GrpcGroup(GrpcGroupOptions options, EventSink sink);
  ~GrpcGroup() override;

  // Any thread. A worker says where it is. INVALID_ARGUMENT for a rank or size that the group does
  // not have, ALREADY_EXISTS for a rank that another worker has.
  absl::Status Announced(const v1::JoinRequest& request);

  void OpenEpoch(const core::OpenEpoch& open) override;
  void SendPlan(const core::SendPlan& send) override;
  void Drop(const core::Drop& drop) override;

 private:
  uint32_t size() const { return static_cast<uint32_t>(ranks_.size()); }
  // No rank is to announce itself: what goes wrong again and again will go on so. A network between
  // hosts may heal, and another worker may come.
  bool IsLocal() const;
  void Run();
  // One incarnation: from dialling until its streams are over. An error says why it ended.
  absl::Status RunOnce();
  // Calls `fn` for every rank at once. The first error ends the calls of the other ranks, and is
  // returned with the rank's name.
  absl::Status OnAllRanks(absl::FunctionRef<absl::Status(uint32_t rank)> fn);
  absl::Status Load(std::vector<v1::ModelInfo>* models);
  absl::Status Profile(const std::vector<v1::ModelInfo>& models,
                       std::vector<v1::ProfileResponse>* profiles);
  // A rank that does not answer in time is told to `suspect`.
  absl::Status Suspicious(uint32_t rank, absl::Status status);
  // A worker that cannot take the place of the one before it: where it announced itself, another
  // may come.
  absl::Status Refused(uint32_t rank, absl::Status status);
  absl::Status CheckSame(uint32_t rank, const v1::ModelInfo& model) const;
  absl::Status Meet(const std::vector<v1::ModelInfo>& models,
                    const std::vector<v1::ProfileResponse>& profiles);
  std::optional<core::OpenEpoch> WaitForEpoch();
  absl::Status ServeEpoch(const core::OpenEpoch& open);
  std::unique_ptr<StepStream> OpenStream(uint32_t rank,
                                         const core::OpenEpoch& open,
                                         const std::vector<std::string>& endpoints);
  // The stream of `rank` is over, and so are all others.
  void StreamEnded(uint32_t rank, const absl::Status& status);
  void EndCalls(const absl::Status& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::string Named(uint32_t rank, absl::string_view message) const;
  void WaitBeforeRetry();
  bool stopping();

  const GrpcGroupOptions options_;
  const EventSink sink_;
  std::vector<std::unique_ptr<RankLink>> ranks_;

  // Own thread.
  std::optional<GroupModel> first_;          // what the first incarnation found
  std::vector<v1::ModelInfo> first_models_;  // by rank, likewise
  absl::Duration backoff_;
  int epochs_in_vain_ = 0;  // in a row, without an answered step

  PlanEncoder encoder_;  // engine thread

  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<core::OpenEpoch> wanted_ ABSL_GUARDED_BY(mutex_);
  // The epoch that this incarnation was told to open; 0 before that.
  uint64_t current_ ABSL_GUARDED_BY(mutex_) = 0;
  bool dropped_ ABSL_GUARDED_BY(mutex_) = false;   // the core gave current_ up
  bool progress_ ABSL_GUARDED_BY(mutex_) = false;  // a step of current_ was answered
  std::vector<std::unique_ptr<StepStream>> streams_ ABSL_GUARDED_BY(mutex_);  // by rank
  uint32_t open_streams_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status stream_end_ ABSL_GUARDED_BY(mutex_);  // of the first that ended

  std::thread thread_;
};

}  // namespace pagoda
