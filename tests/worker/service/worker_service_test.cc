#include "worker/service/worker_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/check.h"
#include "common/hash.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/testing/plan_driver.h"
#include "tests/testing/tiny_model.h"
#include "tests/worker/service/worker_client.h"
#include "worker/service/listen.h"

namespace pagoda {
namespace {

using testing::Greedy;
using ::testing::HasSubstr;
using testing::PlanDriver;
using testing::TinyModel;

void ExpectStatus(const grpc::Status& status, grpc::StatusCode code, const std::string& message) {
  EXPECT_EQ(status.error_code(), code) << status.error_message();
  EXPECT_THAT(status.error_message(), HasSubstr(message));
}

class WorkerServiceTest : public ::testing::Test {
 protected:
  WorkerServiceTest()
      : service_({.device = cpu::CpuDevice({.threads = 2}),
                  .ready = [this] { ++ready_; },
                  .stepped = [this] { ++stepped_; }}) {
    auto listening = Listen(NewSocketAddress(), &service_);
    CHECK_OK(listening);
    server_ = std::move(listening->server);
    client_ = std::make_unique<WorkerClient>(listening->address);
  }
  ~WorkerServiceTest() override {
    service_.Stop();
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(20));
  }

  void LoadAndConfigure(uint64_t epoch) {
    ASSERT_TRUE(client_->Load(LoadRequest(model_.path())).ok());
    ASSERT_TRUE(client_->Configure(ConfigRequest(epoch)).ok());
  }

  // Opens `epoch` and generates a few tokens; they are the same in every epoch.
  std::vector<uint32_t> Generate(uint64_t epoch) {
    StepCall call(client_.get());
    EXPECT_TRUE(call.Open(epoch));
    PlanDriver driver(ConfigRequest(epoch), 16);
    driver.Add({5, 6, 7}, Greedy(), 8);
    driver.Add(std::vector<uint32_t>(40, 9), Greedy(), 8);
    const absl::Status status = driver.Run([&](const v1::Plan& plan, v1::StepResult* result) {
      return call.Step(plan, result) ? absl::OkStatus() : absl::UnavailableError("stream over");
    });
    EXPECT_TRUE(status.ok()) << status << call.Finish().error_message();
    EXPECT_TRUE(call.Finish().ok());
    return driver.sequence(1).drawn;
  }

  // A plan that prefills the longest prompt.
  v1::Plan LongPlan(uint64_t epoch) {
    PlanDriver driver(ConfigRequest(epoch), 2048);
    driver.Add(std::vector<uint32_t>(2047, 3), Greedy(), 1);
    return driver.Next();
  }

  TinyModel model_;
  std::atomic<int> ready_ = 0;
  std::atomic<int> stepped_ = 0;
  WorkerService service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<WorkerClient> client_;
};

TEST_F(WorkerServiceTest, LivesItsLife) {
  EXPECT_EQ(client_->Health().state(), v1::HealthResponse::EMPTY);
  std::vector<v1::LoadModelProgress> progress;
  ASSERT_TRUE(client_->Load(LoadRequest(model_.path()), &progress).ok());
  ASSERT_FALSE(progress.empty());
  EXPECT_TRUE(progress.back().done());
  EXPECT_EQ(progress.back().bytes_read(), progress.back().bytes_total());
  EXPECT_EQ(progress.back().model().vocab_size(), 512u);
  EXPECT_EQ(client_->Health().state(), v1::HealthResponse::READY);
  EXPECT_EQ(ready_, 0) << "no epoch is configured";

  v1::ProfileResponse profile;
  ASSERT_TRUE(client_->Profile(&profile).ok());
  EXPECT_GT(profile.pool_memory_bytes(), 0u);
  EXPECT_THAT(profile.device(), HasSubstr("2 threads"));
  EXPECT_EQ(profile.last_epoch(), 0u);

  ASSERT_TRUE(client_->Configure(ConfigRequest(5)).ok());
  EXPECT_EQ(ready_, 1);
  EXPECT_EQ(client_->Health().state(), v1::HealthResponse::SERVING);
  EXPECT_EQ(client_->Health().epoch(), 5u);
  EXPECT_EQ(stepped_, 0);
  const std::vector<uint32_t> tokens = Generate(5);
  EXPECT_EQ(tokens.size(), 8u);
  EXPECT_EQ(stepped_, 1);
  EXPECT_EQ(client_->Health().state(), v1::HealthResponse::READY) << "the stream is over";

  ASSERT_TRUE(client_->Configure(ConfigRequest(6)).ok());
  EXPECT_EQ(Generate(6), tokens) << "a new epoch starts empty";
  EXPECT_EQ(ready_, 1);
  EXPECT_EQ(stepped_, 1);
}

TEST_F(WorkerServiceTest, AnswersCarryTheHashOfThePlanBytes) {
  LoadAndConfigure(1);
  StepCall call(client_.get());
  v1::StepResult result;
  ASSERT_TRUE(call.Open(1, &result));
  EXPECT_EQ(result.epoch(), 1u);
  EXPECT_EQ(result.step(), 0u);
  EXPECT_EQ(result.plan_hash(), 0u);
  RunningHash hash;
  for (uint64_t step = 1; step <= 3; ++step) {
    v1::Plan plan;
    plan.set_epoch(1);
    plan.set_step(step);
    plan.set_snapshot(step == 1);
    hash.Add(plan.SerializeAsString());
    ASSERT_TRUE(call.Step(plan, &result));
    EXPECT_EQ(result.step(), step);
    EXPECT_EQ(result.plan_hash(), hash.value());
  }
  EXPECT_EQ(client_->Health().last_step(), 3u);
}

TEST_F(WorkerServiceTest, PlansMayBeSentAhead) {
  LoadAndConfigure(1);
  StepCall call(client_.get());
  ASSERT_TRUE(call.Open(1));
  v1::Plan plan = LongPlan(1);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(call.SendPlan(plan.SerializeAsString()));
    plan.Clear();
    plan.set_epoch(1);
    plan.set_step(static_cast<uint64_t>(i) + 2);
    if (i > 0) continue;
    plan.add_ops()->mutable_unbind()->set_lane(0);
  }
  v1::StepResult result;
  for (uint64_t step = 1; step <= 5; ++step) {
    ASSERT_TRUE(call.Read(&result));
    EXPECT_EQ(result.step(), step);
  }
}

TEST_F(WorkerServiceTest, TheSameModelIsLoadedOnce) {
  ASSERT_TRUE(client_->Load(LoadRequest(model_.path())).ok());
  std::vector<v1::LoadModelProgress> progress;
  ASSERT_TRUE(client_->Load(LoadRequest(model_.path()), &progress).ok());
  ASSERT_EQ(progress.size(), 1u);
  EXPECT_TRUE(progress[0].done());
  EXPECT_EQ(progress[0].model().num_layers(), 2u);
  v1::LoadModelRequest other = LoadRequest(model_.path());
  other.set_dtype("bfloat16");
  ExpectStatus(client_->Load(other), grpc::StatusCode::FAILED_PRECONDITION, "another model");
}

TEST_F(WorkerServiceTest, TwoWhoAskAtOnceGetTheSameModel) {
  std::vector<grpc::Status> statuses(4);
  std::vector<std::thread> threads;
  for (grpc::Status& status : statuses) {
    threads.emplace_back([&] { status = client_->Load(LoadRequest(model_.path())); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const grpc::Status& status : statuses) EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(WorkerServiceTest, AModelThatCannotBeLoadedLeavesTheWorkerEmpty) {
  ExpectStatus(client_->Load(LoadRequest("models/nothing")),
               grpc::StatusCode::NOT_FOUND,
               "models/nothing");
  EXPECT_EQ(client_->Health().state(), v1::HealthResponse::EMPTY);
  v1::LoadModelRequest request = LoadRequest(model_.path());
  request.set_size(3);
  ExpectStatus(client_->Load(request),
               grpc::StatusCode::INVALID_ARGUMENT,
               "the model cannot be divided between 3 ranks");
  request = LoadRequest(model_.path());
  request.set_protocol_version(2);
  ExpectStatus(client_->Load(request), grpc::StatusCode::FAILED_PRECONDITION, "protocol 2");
  EXPECT_TRUE(client_->Load(LoadRequest(model_.path())).ok());
}

TEST_F(WorkerServiceTest, WithoutAModelThereIsNothingToDo) {
  v1::ProfileResponse profile;
  ExpectStatus(client_->Profile(&profile),
               grpc::StatusCode::FAILED_PRECONDITION,
               "no model is loaded");
  ExpectStatus(client_->Configure(ConfigRequest(1)),
               grpc::StatusCode::FAILED_PRECONDITION,
               "no model is loaded");
  ExpectStatus(StepCall(client_.get()).Finish(),
               grpc::StatusCode::FAILED_PRECONDITION,
               "no model is loaded");
}

TEST_F(WorkerServiceTest, EpochsOnlyRise) {
  LoadAndConfigure(4);
  for (uint64_t epoch : {4, 3, 0}) {
    ExpectStatus(client_->Configure(ConfigRequest(epoch)),
                 grpc::StatusCode::FAILED_PRECONDITION,
                 "this worker has seen epoch 4");
  }
  EXPECT_EQ(Generate(4).size(), 8u) << "a stale Configure harms nobody";
}

TEST_F(WorkerServiceTest, AnEpochIsOpenedOnceAndByItsNumber) {
  LoadAndConfigure(4);
  for (uint64_t epoch : {3, 5}) {
    StepCall call(client_.get());
    EXPECT_FALSE(call.Open(epoch));
    ExpectStatus(call.Finish(), grpc::StatusCode::FAILED_PRECONDITION, "is not the one");
  }
  Generate(4);
  StepCall again(client_.get());
  EXPECT_FALSE(again.Open(4));
  ExpectStatus(again.Finish(), grpc::StatusCode::FAILED_PRECONDITION, "epoch 4 is not the one");
}

TEST_F(WorkerServiceTest, ABadConfigurationIsRefusedAndTheNextOneTaken) {
  ASSERT_TRUE(client_->Load(LoadRequest(model_.path())).ok());
  v1::ConfigureRequest config = ConfigRequest(1);
  config.set_block_size(17);
  ExpectStatus(client_->Configure(config), grpc::StatusCode::INVALID_ARGUMENT, "block_size is 17");
  config = ConfigRequest(2);
  config.set_protocol_version(0);
  ExpectStatus(client_->Configure(config), grpc::StatusCode::FAILED_PRECONDITION, "protocol 0");
  EXPECT_EQ(client_->Health().state(), v1::HealthResponse::READY);
  EXPECT_EQ(ready_, 0);
  ASSERT_TRUE(client_->Configure(ConfigRequest(2)).ok());
  EXPECT_EQ(ready_, 1);
}

TEST_F(WorkerServiceTest, ASecondStreamIsRefused) {
  LoadAndConfigure(1);
  StepCall first(client_.get());
  ASSERT_TRUE(first.Open(1));
  ExpectStatus(StepCall(client_.get()).Finish(),
               grpc::StatusCode::FAILED_PRECONDITION,
               "another stream of steps is open");
  v1::StepResult result;
  EXPECT_TRUE(first.Step(LongPlan(1), &result)) << "the first goes on";
}

TEST_F(WorkerServiceTest, ConfigureEndsTheOpenStream) {
  LoadAndConfigure(1);
  StepCall old(client_.get());
  ASSERT_TRUE(old.Open(1));
  ASSERT_TRUE(client_->Configure(ConfigRequest(2)).ok());
  EXPECT_FALSE(old.Finish().ok());
  EXPECT_EQ(Generate(2).size(), 8u);
}

// Sends what `send` says in a stream of `epoch`, which must end with this status and leave a worker
// that takes the next epoch.
class WorkerServiceGarbageTest : public WorkerServiceTest {
 protected:
  void ExpectEnd(const std::function<void(StepCall* call)>& send,
                 grpc::StatusCode code,
                 const std::string& message) {
    StepCall call(client_.get());
    ASSERT_TRUE(call.Open(epoch_));
    send(&call);
    v1::StepResult result;
    EXPECT_FALSE(call.Read(&result));
    ExpectStatus(call.Finish(), code, message);
    EXPECT_EQ(client_->Health().state(), v1::HealthResponse::READY);
    ASSERT_TRUE(client_->Configure(ConfigRequest(++epoch_)).ok());
  }

  uint64_t epoch_ = 1;
};

TEST_F(WorkerServiceGarbageTest, EndsTheStreamAndTheWorkerLivesOn) {
  LoadAndConfigure(epoch_);
  ExpectEnd([](StepCall* call) { call->SendPlan("\xff\xff\xff not a plan"); },
            grpc::StatusCode::INVALID_ARGUMENT,
            "a plan of 14 bytes cannot be parsed");
  ExpectEnd([](StepCall* call) { call->SendPlan(""); },
            grpc::StatusCode::FAILED_PRECONDITION,
            "a plan of epoch 0");
  ExpectEnd([&](StepCall* call) { call->SendPlan(LongPlan(99).SerializeAsString()); },
            grpc::StatusCode::FAILED_PRECONDITION,
            "a plan of epoch 99");
  EXPECT_EQ(Generate(epoch_).size(), 8u);
}

TEST_F(WorkerServiceGarbageTest, OtherMessagesThanPlansToo) {
  LoadAndConfigure(epoch_);
  v1::StepMessage message;
  const auto send = [&message](StepCall* call) { call->Send(message); };
  ExpectEnd(send, grpc::StatusCode::UNIMPLEMENTED, "does not know");
  message.mutable_sample_input()->set_step(1);
  ExpectEnd(send, grpc::StatusCode::UNIMPLEMENTED, "sample_input");
  message.mutable_open()->set_epoch(1);
  ExpectEnd(send, grpc::StatusCode::FAILED_PRECONDITION, "Open comes once");
  EXPECT_EQ(Generate(epoch_).size(), 8u);
}

TEST_F(WorkerServiceTest, AStreamStartsWithOpen) {
  LoadAndConfigure(1);
  {
    StepCall call(client_.get());
    call.SendPlan("");
    ExpectStatus(call.Finish(), grpc::StatusCode::FAILED_PRECONDITION, "starts with Open");
  }
  {
    StepCall call(client_.get());
    v1::StepMessage message;
    message.mutable_open()->set_epoch(1);
    message.mutable_open()->set_protocol_version(7);
    call.Send(message);
    ExpectStatus(call.Finish(), grpc::StatusCode::FAILED_PRECONDITION, "protocol 7");
  }
  EXPECT_EQ(Generate(1).size(), 8u) << "none of them was this epoch's stream";
}

TEST_F(WorkerServiceTest, AStreamCancelledInTheMiddleOfAStepLeavesTheWorkerWell) {
  LoadAndConfigure(1);
  for (uint64_t epoch = 1; epoch <= 4; ++epoch) {
    StepCall call(client_.get());
    ASSERT_TRUE(call.Open(epoch));
    ASSERT_TRUE(call.SendPlan(LongPlan(epoch).SerializeAsString()));
    call.Cancel();
    EXPECT_EQ(call.Finish().error_code(), grpc::StatusCode::CANCELLED);
    v1::ProfileResponse profile;
    ASSERT_TRUE(client_->Profile(&profile).ok());
    EXPECT_EQ(profile.last_epoch(), epoch) << "over, and still what a new coordinator must exceed";
    ASSERT_TRUE(client_->Configure(ConfigRequest(epoch + 1)).ok());
  }
  EXPECT_EQ(Generate(5).size(), 8u);
}

TEST_F(WorkerServiceTest, HealthAnswersDuringAStep) {
  TinyModel large({.hidden_size = 256, .intermediate_size = 512, .num_layers = 6, .num_heads = 8});
  ASSERT_TRUE(client_->Load(LoadRequest(large.path())).ok());
  ASSERT_TRUE(client_->Configure(ConfigRequest(1)).ok());
  StepCall call(client_.get());
  ASSERT_TRUE(call.Open(1));
  ASSERT_TRUE(call.SendPlan(LongPlan(1).SerializeAsString()));
  const v1::HealthResponse health = client_->Health();
  EXPECT_EQ(health.state(), v1::HealthResponse::SERVING);
  EXPECT_EQ(health.last_step(), 0u) << "the step is not over";
  v1::StepResult result;
  ASSERT_TRUE(call.Read(&result));
  EXPECT_EQ(client_->Health().last_step(), 1u);
}

TEST_F(WorkerServiceTest, StopEndsAnIdleStreamAndRefusesNewWork) {
  LoadAndConfigure(1);
  StepCall call(client_.get());
  ASSERT_TRUE(call.Open(1));
  EXPECT_TRUE(service_.Stop());
  v1::StepResult result;
  EXPECT_FALSE(call.Read(&result));
  EXPECT_FALSE(call.Finish().ok());
  ExpectStatus(client_->Configure(ConfigRequest(2)),
               grpc::StatusCode::UNAVAILABLE,
               "the worker is stopping");
}

// Wherever in a step the worker is told to stop, it ends the stream and nothing hangs.
TEST_F(WorkerServiceTest, StopDuringStepsEndsTheStream) {
  LoadAndConfigure(1);
  StepCall call(client_.get());
  ASSERT_TRUE(call.Open(1));
  ASSERT_TRUE(call.SendPlan(LongPlan(1).SerializeAsString()));
  EXPECT_TRUE(service_.Stop());
  v1::StepResult result;
  // The running step, if there is one, is answered whole; then nothing comes.
  int answers = 0;
  while (call.Read(&result)) {
    EXPECT_EQ(result.tokens_size(), 1);
    ++answers;
  }
  EXPECT_LE(answers, 1);
  EXPECT_FALSE(call.Finish().ok());
  EXPECT_EQ(client_->Health().state(), v1::HealthResponse::READY);
}

}  // namespace
}  // namespace pagoda
