// pagoda-demo: the acts of `make demo`. Ends with status 0 only if all of them passed.
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/command.h"
#include "client/cli/demo/at_once.h"
#include "client/cli/demo/questions.h"
#include "client/cli/private_server.h"
#include "client/cpp/client.h"
#include "common/flags.h"
#include "common/log.h"
#include "common/status.h"

namespace pagoda {
namespace {

constexpr size_t kAtOnce = 32;
// Of 16 tokens. As many sequences at full length would need eight times as many.
constexpr int64_t kPoolBlocks = 256;

struct DemoFlags {
  std::string model = "models/demo";
  bool rewrite = false;
};

std::string ExpectedPath(const DemoFlags& flags) { return flags.model + "/expected.txt"; }

absl::Status Compare(const DemoFlags& flags, const std::string& transcript) {
  if (flags.rewrite) std::ofstream(ExpectedPath(flags)) << transcript;
  std::ostringstream expected;
  expected << std::ifstream(ExpectedPath(flags)).rdbuf();
  if (transcript == expected.str()) return absl::OkStatus();
  const auto differ = std::mismatch(transcript.begin(),
                                    transcript.end(),
                                    expected.view().begin(),
                                    expected.view().end());
  return absl::DataLossError(absl::StrCat("the answers differ from ",
                                          ExpectedPath(flags),
                                          " from byte ",
                                          differ.first - transcript.begin(),
                                          " on"));
}

// Chat-style questions, streamed, equal to what is expected.
absl::Status AskAll(const DemoFlags& flags,
                    Client* client,
                    const std::vector<Question>& questions) {
  std::string transcript;
  for (const Question& question : questions) {
    std::printf("\n> %s\n", question.Spoken().c_str());
    ASSIGN_OR_RETURN(
        const Completion completion,
        client->Generate(
            {.prompt = question.prompt, .temperature = 0, .max_tokens = question.max_tokens},
            [](const Delta& delta) {
              std::fputs(delta.text.c_str(), stdout);
              std::fflush(stdout);
            }));
    std::printf("\n");
    absl::StrAppend(&transcript, "# ", question.name, "\n", completion.choices[0].text, "\n");
  }
  RETURN_IF_ERROR(Compare(flags, transcript));
  std::printf("\n%zu answers, byte for byte those of %s\n",
              questions.size(),
              ExpectedPath(flags).c_str());
  return absl::OkStatus();
}

double TokensPerSecond(const Load& load) {
  return static_cast<double>(load.tokens) / absl::ToDoubleSeconds(load.time);
}

// Sampled answers, each with a seed of its own, so no two are alike.
absl::Status AskAtOnce(Client* client, const std::vector<Question>& questions) {
  std::vector<GenerateRequest> requests;
  for (size_t i = 0; i < kAtOnce; ++i) {
    const Question& question = questions[i % questions.size()];
    requests.push_back({.prompt = question.prompt,
                        .temperature = 1,
                        .seed = i,
                        .max_tokens = question.max_tokens});
  }
  ASSIGN_OR_RETURN(const ModelInfo model, client->GetModel());
  ASSIGN_OR_RETURN(const Load alone, Run(client, requests, 1, model.block_size));
  ASSIGN_OR_RETURN(const Load together, Run(client, requests, kAtOnce, model.block_size));
  for (size_t i = 0; i < kAtOnce; ++i) {
    const std::string& text = together.completions[i].choices[0].text;
    if (text == alone.completions[i].choices[0].text) continue;
    return absl::DataLossError(
        absl::StrCat("prompt ", i, " has another answer among others: ", text));
  }
  std::printf("\n%zu sampled prompts at once: every answer has the bytes it has alone\n", kAtOnce);
  std::printf("  at once  %6.0f tokens/s (%d tokens in %.2f s)\n",
              TokensPerSecond(together),
              static_cast<int>(together.tokens),
              absl::ToDoubleSeconds(together.time));
  std::printf("  alone    %6.0f tokens/s, one after the other\n", TokensPerSecond(alone));
  const uint64_t reserved =
      kAtOnce * ((model.max_model_len + model.block_size - 1) / model.block_size);
  std::printf(
      "  KV       at most %d of %d blocks in use, by the lengths of the streams; reserving the\n"
      "           whole context for each would take %d\n",
      static_cast<int>(together.peak_blocks),
      static_cast<int>(model.num_blocks),
      static_cast<int>(reserved));
  return absl::OkStatus();
}

absl::Status ActOne(const DemoFlags& flags) {
  std::printf("Act 1: a model of %s answers, from a coordinator and a worker\n",
              flags.model.c_str());
  ASSIGN_OR_RETURN(const std::vector<Question> questions, ReadQuestions(flags.model));
  ServerFlags server_flags;
  server_flags.grpc_port = 0;
  server_flags.num_gpu_blocks_override = kPoolBlocks;
  PrivateServer server({.programs = ProgramsDirectory(),
                        .model = flags.model,
                        .flags = server_flags,
                        .log = nullptr});
  ASSIGN_OR_RETURN(const std::string address, server.WaitUntilServing());
  ASSIGN_OR_RETURN(const auto client, Client::Connect(address, absl::Seconds(10)));
  RETURN_IF_ERROR(AskAll(flags, client.get(), questions));
  RETURN_IF_ERROR(AskAtOnce(client.get(), questions));
  return server.End();
}

int Main(int argc, char** argv) {
  DemoFlags flags;
  FlagSet set;
  set.Add({.name = "model",
           .group = "Demo",
           .target = &flags.model,
           .help = "Directory of the demo model.",
           .placeholder = "DIR"});
  set.Add({.name = "rewrite",
           .group = "Demo",
           .target = &flags.rewrite,
           .help = "Write expected.txt instead of comparing with it; read it as a diff."});
  if (absl::Status status = set.Parse({argv + 1, argv + argc}); !status.ok()) {
    std::fprintf(stderr, "%s\n%s", std::string(status.message()).c_str(), set.Help().c_str());
    return kUsage;
  }
  log::SetMinSeverity(log::Severity::kError);
  Supervisor::BlockSignals();
  const absl::Status status = ActOne(flags);
  std::fflush(stdout);
  if (!status.ok()) {
    std::fprintf(stderr, "\nthe demo FAILED: %s\n", std::string(status.message()).c_str());
    return kFailed;
  }
  std::printf("\nthe demo passed\n");
  return 0;
}

}  // namespace
}  // namespace pagoda

int main(int argc, char** argv) { return pagoda::Main(argc, argv); }
