#include "tests/testing/in_process_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

#include "absl/time/clock.h"
#include "common/queue.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/testing/tiny_model.h"

namespace pagoda::testing {
namespace {

using ::testing::HasSubstr;

constexpr core::GroupCapacity kCapacity = {.num_blocks = 16,
                                           .block_size = 16,
                                           .max_lanes = 4,
                                           .max_step_tokens = 32,
                                           .max_model_len = 128};

class InProcessGroupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    InProcessOptions options;
    options.group = core::GroupId(3);
    options.capacity = kCapacity;
    options.runner.model = model_.path();
    options.runner.load_format = "dummy";
    options.runner.device = cpu::CpuDevice({.threads = 1});
    options.poison_free_blocks = true;
    auto group = InProcessGroup::Make(options, [this](core::Event event) {
      ASSERT_TRUE(events_.TryPush(std::move(event)));
    });
    ASSERT_TRUE(group.ok()) << group.status();
    group_ = *std::move(group);
  }

  template <class T>
  T Next() {
    std::optional<core::Event> event = events_.PopUntil(absl::Now() + absl::Seconds(60));
    CHECK(event.has_value()) << "nothing happened";
    CHECK(std::holds_alternative<T>(*event)) << "another event: " << event->index();
    return std::get<T>(*std::move(event));
  }

  void Open(uint64_t epoch) {
    Next<core::GroupJoined>();
    group_->OpenEpoch(
        {.group = core::GroupId(3), .epoch = core::Epoch(epoch), .capacity = kCapacity});
    EXPECT_EQ(Next<core::StepDone>().step, core::Step(0));
  }

  // A plan that binds a prompt of three tokens on lane 0, in block `block`.
  core::StepPlan First(uint64_t epoch, uint32_t block = 2) {
    core::StepPlan plan = Steady(epoch, 1);
    plan.snapshot = true;
    plan.tokens = {5, 6, 7};
    core::PlanBind bind;
    bind.tokens_count = 3;
    bind.prompt_tokens = 3;
    bind.sampling.temperature = 0;
    plan.binds = {bind};
    plan.ops = {{.kind = core::OpKind::kBind, .lane = 0},
                {.kind = core::OpKind::kAppend, .lane = 0, .a = block, .b = 1}};
    plan.rows = {{.lane = 0, .tokens = 3}};
    return plan;
  }
  void Send(const core::StepPlan& plan) { group_->SendPlan({.plan = &plan}); }
  core::StepPlan Steady(uint64_t epoch, uint64_t step) {
    core::StepPlan plan;
    plan.epoch = core::Epoch(epoch);
    plan.step = core::Step(step);
    return plan;
  }

  TinyModel model_;
  BoundedQueue<core::Event> events_{100};
  std::unique_ptr<InProcessGroup> group_;
};

TEST_F(InProcessGroupTest, AnswersPlansInOrder) {
  Open(1);
  Send(First(1));
  Send(Steady(1, 2));  // before the first is answered
  const core::StepDone first = Next<core::StepDone>();
  EXPECT_EQ(first.group, core::GroupId(3));
  EXPECT_EQ(first.epoch, core::Epoch(1));
  EXPECT_EQ(first.step, core::Step(1));
  EXPECT_EQ(first.tokens.size(), 1u);
  EXPECT_GT(first.busy, absl::ZeroDuration());
  EXPECT_EQ(Next<core::StepDone>().step, core::Step(2));
  EXPECT_EQ(group_->steps(), 2u);
}

TEST_F(InProcessGroupTest, AKilledWorkerComesBackWithAFreshPool) {
  Open(1);
  Send(First(1));
  const std::vector<int32_t> tokens = Next<core::StepDone>().tokens;
  EXPECT_TRUE(group_->Kill());
  const core::GroupLost lost = Next<core::GroupLost>();
  EXPECT_EQ(lost.epoch, core::Epoch(1));
  EXPECT_EQ(lost.reason, "killed");
  Open(2);
  Send(Steady(1, 2));  // of the dead epoch: without effect
  Send(First(2, 9));
  EXPECT_EQ(Next<core::StepDone>().tokens, tokens);
}

TEST_F(InProcessGroupTest, AKillBetweenEpochsDoesNothing) {
  EXPECT_FALSE(group_->Kill());
  Open(1);
}

TEST_F(InProcessGroupTest, ADropEndsItsOwnEpochOnly) {
  Open(4);
  group_->Drop({.group = core::GroupId(3), .epoch = core::Epoch(3), .reason = "stale"});
  Send(First(4));
  Next<core::StepDone>();
  group_->Drop({.group = core::GroupId(3), .epoch = core::Epoch(4), .reason = "given up"});
  EXPECT_EQ(Next<core::GroupLost>().reason, "given up");
  Open(5);
}

TEST_F(InProcessGroupTest, ARefusedPlanEndsTheEpoch) {
  Open(1);
  Send(Steady(1, 7));
  EXPECT_THAT(Next<core::GroupLost>().reason, HasSubstr("a gap"));
  Open(2);
}

TEST_F(InProcessGroupTest, FreeBlocksHoldNaNAndReachNobody) {
  Open(1);
  Send(First(1, 2));
  const core::StepDone first = Next<core::StepDone>();
  core::StepPlan again = First(1, 2);  // the block that the next plan frees, now NaN
  again.snapshot = false;
  again.step = core::Step(3);
  core::StepPlan unbind = Steady(1, 2);
  unbind.ops = {{.kind = core::OpKind::kUnbind, .lane = 0}};
  Send(unbind);
  Next<core::StepDone>();
  Send(again);
  EXPECT_EQ(Next<core::StepDone>().tokens, first.tokens);
  // A lane that is told that block 5 holds its KV reads what is there: NaN.
  core::StepPlan foreign = Steady(1, 4);
  foreign.ops = {{.kind = core::OpKind::kSet, .lane = 0, .a = 0, .b = 5}};
  Send(foreign);
  EXPECT_EQ(Next<core::StepDone>().failures.size(), 1u);
}

TEST(InProcessGroupMakeTest, AModelThatIsNotThereIsAnError) {
  InProcessOptions options;
  options.runner.model = "models/nothing";
  options.runner.device = cpu::CpuDevice({});
  EXPECT_EQ(InProcessGroup::Make(options, [](core::Event) {}).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace pagoda::testing
