#include "tests/worker/model/prompt_runner.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "common/status.h"
#include "kernels/comm/communicator.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/isa.h"

namespace pagoda::testing {
namespace {

class PromptRunner {
 public:
  PromptRunner(const std::vector<int32_t>& tokens, const Way& way) : tokens_(tokens), way_(way) {}

  absl::Status Load(const LoadOptions& options) {
    ASSIGN_OR_RETURN(backend_, cpu::MakeCpuBackend({.threads = 1, .isa = way_.isa}));
    ASSIGN_OR_RETURN(LoadedModel model, LoadModel(options, *backend_, [](uint64_t, uint64_t) {}));
    decoder_ = std::make_unique<Decoder>(*backend_, std::move(model));
    StepLimits limits;
    limits.max_tokens = way_.chunk;
    limits.max_lanes = 1;
    limits.max_logits_rows = way_.chunk;
    limits.max_sample_rows = 1;
    limits.max_model_len = static_cast<int32_t>(tokens_.size());
    limits.vocab_size = static_cast<int32_t>(decoder_->model().config.vocab_size);
    RETURN_IF_ERROR(backend_->Configure(limits));
    RETURN_IF_ERROR(decoder_->Configure(limits));
    const int32_t blocks = (limits.max_model_len + way_.block_size - 1) / way_.block_size;
    ASSIGN_OR_RETURN(const auto rendezvous, backend_->OpenRendezvous({}));
    ASSIGN_OR_RETURN(comm_, rendezvous->Connect({}));
    ASSIGN_OR_RETURN(pool_,
                     backend_->MakeKvPool(decoder_->MakeKvLayout(way_.block_size), blocks + 1));
    // Any order but the obvious one.
    table_.resize(blocks);
    std::iota(table_.rbegin(), table_.rend(), 1);
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<float>> Logits() {
    std::vector<float> logits;
    const int32_t count = static_cast<int32_t>(tokens_.size());
    for (int32_t start = 0; start < count; start += way_.chunk) {
      RETURN_IF_ERROR(Step(start, std::min(way_.chunk, count - start), &logits));
    }
    return logits;
  }

 private:
  absl::Status Step(int32_t start, int32_t count, std::vector<float>* logits) {
    SequenceInput sequence;
    sequence.start = start;
    sequence.num_tokens = count;
    sequence.tokens = absl::MakeConstSpan(tokens_).subspan(start, count);
    sequence.block_table = table_;
    sequence.window = decoder_->window();
    std::vector<LogitsRow> rows(count);
    for (int32_t i = 0; i < count; ++i) rows[i].token_offset = i;
    const StepInput input = {.sequences = absl::MakeConstSpan(&sequence, 1), .logits_rows = rows};
    ASSIGN_OR_RETURN(PreparedStep* const step, backend_->Prepare(input, *pool_));
    RETURN_IF_ERROR(backend_->Run(*step, [&](LayerOps& ops) {
      return decoder_->Forward(ops, count, count, *pool_, *comm_);
    }));
    const TensorView view = decoder_->Logits(count);
    for (int32_t i = 0; i < count; ++i) {
      logits->insert(logits->end(), view.Row<float>(i), view.Row<float>(i) + view.cols);
    }
    RETURN_IF_ERROR(backend_->Sample(*step, view, {}, *comm_));
    return backend_->Collect(*step).status();
  }

  const std::vector<int32_t>& tokens_;
  const Way way_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<KvPool> pool_;
  std::unique_ptr<Communicator> comm_;
  std::vector<int32_t> table_;
};

}  // namespace

std::vector<Way> Ways(int32_t tokens) {
  std::vector<Way> ways;
  for (const cpu::Isa isa : cpu::SupportedIsas()) {
    ways.push_back({cpu::IsaName(isa), tokens, 16});
    ways.push_back({cpu::IsaName(isa), 37, 8});
  }
  return ways;
}

absl::StatusOr<std::vector<float>> PromptLogits(const LoadOptions& options,
                                                const std::vector<int32_t>& tokens,
                                                const Way& way) {
  PromptRunner runner(tokens, way);
  RETURN_IF_ERROR(runner.Load(options));
  return runner.Logits();
}

}  // namespace pagoda::testing
