#include "tests/kernels/comm/ranks.h"

#include <string>
#include <thread>

#include "common/check.h"

namespace pagoda::testing {

std::vector<std::unique_ptr<Communicator>> ConnectRanks(int size, CommBackend backend) {
  std::vector<std::unique_ptr<Rendezvous>> rendezvous;
  std::vector<std::string> endpoints;
  for (int rank = 0; rank < size; ++rank) {
    auto opened = OpenRendezvous(
        {.rank = rank, .size = size, .epoch = 7, .backend = backend, .interface = "lo"});
    CHECK_OK(opened.status());
    rendezvous.push_back(*std::move(opened));
    endpoints.push_back(rendezvous.back()->endpoint());
  }
  std::vector<std::unique_ptr<Communicator>> ranks(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      auto connected = rendezvous[rank]->Connect(endpoints);
      CHECK_OK(connected.status());
      ranks[rank] = *std::move(connected);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return ranks;
}

void RunRanks(const std::vector<std::unique_ptr<Communicator>>& ranks,
              const std::function<void(Communicator& comm)>& body) {
  std::vector<std::thread> threads;
  for (const auto& comm : ranks) threads.emplace_back([&body, &comm] { body(*comm); });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace pagoda::testing
