#include "coordinator/core/scheduler/policy.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace pagoda::core {
namespace {

std::unique_ptr<Sequence> Arrived(uint64_t arrival) {
  RequestSpec spec;
  spec.log = std::make_shared<TokenLog>(false);
  spec.prompt = {1};
  spec.max_tokens = 1;
  return std::make_unique<Sequence>(std::move(spec), arrival);
}

TEST(FirstComeFirstServedTest, OrderIsByArrivalAndStrict) {
  const auto first = Arrived(1);
  const auto second = Arrived(2);
  const Order& order = *FirstComeFirstServed().order;
  EXPECT_TRUE(order.Before(*first, *second));
  EXPECT_FALSE(order.Before(*second, *first));
  EXPECT_FALSE(order.Before(*first, *first));
}

TEST(FirstComeFirstServedTest, TheLastCandidateIsTheVictim) {
  const auto a = Arrived(1);
  const auto b = Arrived(2);
  const auto c = Arrived(3);
  const Victim& victim = *FirstComeFirstServed().victim;
  std::vector<Sequence*> candidates = {a.get(), b.get(), c.get()};
  EXPECT_EQ(victim.Choose(candidates), 2u);
  candidates.resize(1);
  EXPECT_EQ(victim.Choose(candidates), 0u);
}

TEST(FirstComeFirstServedTest, ASequenceStartsWhenItsHistoryFitsOrNobodyRuns) {
  const Admission& admission = *FirstComeFirstServed().admission;
  EXPECT_TRUE(admission.Admit({.blocks_needed = 4, .free_blocks = 4, .running = 3}));
  EXPECT_FALSE(admission.Admit({.blocks_needed = 5, .free_blocks = 4, .running = 3}));
  EXPECT_TRUE(admission.Admit({.blocks_needed = 5, .free_blocks = 4, .running = 0}));
}

}  // namespace
}  // namespace pagoda::core
