// All-reduces of Pagoda's communicators beside Gloo's own, in one run.
//   comm_bench [rounds]
#include <gloo/allreduce.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/hash_store.h>
#include <gloo/transport/tcp/device.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/check.h"
#include "kernels/comm/rendezvous.h"

namespace pagoda {
namespace {

using Reduce = std::function<void(int rank, absl::Span<float> data)>;

void OnRanks(int ranks, const std::function<void(int rank)>& body) {
  std::vector<std::thread> threads;
  threads.reserve(ranks);
  for (int rank = 0; rank < ranks; ++rank) threads.emplace_back([&body, rank] { body(rank); });
  for (std::thread& thread : threads) thread.join();
}

// Pagoda's, over `backend`.
Reduce Ours(int ranks, CommBackend backend) {
  std::vector<std::unique_ptr<Rendezvous>> rendezvous;
  std::vector<std::string> endpoints;
  for (int rank = 0; rank < ranks; ++rank) {
    auto opened = OpenRendezvous(
        {.rank = rank, .size = ranks, .epoch = 1, .backend = backend, .interface = "lo"});
    CHECK_OK(opened.status());
    endpoints.push_back((*opened)->endpoint());
    rendezvous.push_back(*std::move(opened));
  }
  // Shared by the calls to come.
  auto comms = std::make_shared<std::vector<std::unique_ptr<Communicator>>>(ranks);
  OnRanks(ranks, [&](int rank) {
    auto connected = rendezvous[rank]->Connect(endpoints);
    CHECK_OK(connected.status());
    (*comms)[rank] = *std::move(connected);
  });
  return [comms](int rank, absl::Span<float> data) { CHECK_OK((*comms)[rank]->AllReduce(data)); };
}

// Gloo's own.
Reduce Theirs(int ranks) {
  auto contexts = std::make_shared<std::vector<std::shared_ptr<gloo::rendezvous::Context>>>(ranks);
  gloo::rendezvous::HashStore store;
  OnRanks(ranks, [&](int rank) {
    gloo::transport::tcp::attr attributes;
    attributes.iface = "lo";
    auto device = gloo::transport::tcp::CreateDevice(attributes);
    auto context = std::make_shared<gloo::rendezvous::Context>(rank, ranks);
    context->connectFullMesh(store, device);
    (*contexts)[rank] = std::move(context);
  });
  return [contexts](int rank, absl::Span<float> data) {
    gloo::AllreduceOptions options((*contexts)[rank]);
    options.setOutput(data.data(), data.size());
    options.setReduceFunction(
        static_cast<void (*)(void*, const void*, const void*, size_t)>(&gloo::sum<float>));
    gloo::allreduce(options);
  };
}

// Microseconds of one operation on rank 0, the mean of `repeats` in a row.
double Time(int ranks, const Reduce& reduce, size_t count, int repeats) {
  double micros = 0;
  OnRanks(ranks, [&](int rank) {
    std::vector<float> data(count, 0.5f);
    reduce(rank, absl::MakeSpan(data));
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < repeats; ++i) reduce(rank, absl::MakeSpan(data));
    const auto took = std::chrono::steady_clock::now() - start;
    if (rank == 0) {
      micros = std::chrono::duration<double, std::micro>(took).count() / repeats;
    }
  });
  return micros;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Geometric means of the ratios to Gloo's own time.
struct Ratios {
  double local = 1, gloo = 1;
  int count = 0;

  void Add(double local_ratio, double gloo_ratio) {
    local *= local_ratio;
    gloo *= gloo_ratio;
    ++count;
  }
  void Print(int ranks, const char* sizes) const {
    std::printf(
        "%d ranks, %s: shared memory takes %.2fx, Gloo point-to-point %.2fx of Gloo's "
        "allreduce (geometric mean; rates %.2fx, %.2fx)\n",
        ranks,
        sizes,
        std::pow(local, 1.0 / count),
        std::pow(gloo, 1.0 / count),
        std::pow(local, -1.0 / count),
        std::pow(gloo, -1.0 / count));
  }
};

void Compare(int ranks, int rounds) {
  const Reduce reduces[] = {Ours(ranks, CommBackend::kLocal),
                            Ours(ranks, CommBackend::kGloo),
                            Theirs(ranks)};
  Ratios small, large;
  for (const size_t bytes :
       {256, 1024, 4096, 16384, 65536, 262144, 1 << 20, 4 << 20, 8 << 20, 16 << 20}) {
    const int repeats = static_cast<int>(std::clamp<size_t>((32 << 20) / bytes, 4, 300));
    std::vector<double> times[3];
    for (int round = 0; round < rounds; ++round) {
      for (int i = 0; i < 3; ++i) {
        times[i].push_back(Time(ranks, reduces[i], bytes / sizeof(float), repeats));
      }
    }
    const double local = Median(times[0]), gloo = Median(times[1]), theirs = Median(times[2]);
    std::printf("%5d %9zu %12.1f %12.1f %12.1f %8.2f %8.2f\n",
                ranks,
                bytes,
                local,
                gloo,
                theirs,
                local / theirs,
                gloo / theirs);
    std::fflush(stdout);
    if (bytes <= 65536) small.Add(local / theirs, gloo / theirs);
    if (bytes >= 4 << 20) large.Add(local / theirs, gloo / theirs);
  }
  small.Print(ranks, "<= 64 KB");
  large.Print(ranks, "4 to 16 MB");
}

}  // namespace
}  // namespace pagoda

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 5;
  std::printf("ranks     bytes     local us      gloo us   theirs us  local/t   gloo/t\n");
  for (const int ranks : {2, 4}) pagoda::Compare(ranks, rounds);
}
