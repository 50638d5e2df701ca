// pagoda-demo: the acts of `make demo`. Ends with status 0 only if all of them passed.
#include <signal.h>

#include <algorithm>
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
#include "common/clock.h"
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

GenerateRequest Greedy(const Question& question) {
  return {.prompt = question.prompt, .temperature = 0, .max_tokens = question.max_tokens};
}

void Show(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

// Chat-style questions, equal to what is expected; streamed where they are shown.
absl::Status AskAll(const DemoFlags& flags,
                    Client* client,
                    const std::vector<Question>& questions,
                    bool show) {
  std::string transcript;
  for (const Question& question : questions) {
    if (show) std::printf("\n> %s\n", question.Spoken().c_str());
    ASSIGN_OR_RETURN(const Completion completion,
                     client->Generate(Greedy(question), [show](const Delta& delta) {
                       if (show) Show(delta.text);
                     }));
    if (show) std::printf("\n");
    absl::StrAppend(&transcript, "# ", question.name, "\n", completion.choices[0].text, "\n");
  }
  if (flags.rewrite && show) std::ofstream(ExpectedPath(flags)) << transcript;
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

Supervisor::Options ServerOptions(const DemoFlags& flags, const ServerFlags& server) {
  Supervisor::Options options{.programs = ProgramsDirectory(), .model = flags.model};
  options.flags = server;
  options.flags.grpc_port = 0;
  return options;
}

absl::Status ActOne(const DemoFlags& flags, const std::vector<Question>& questions) {
  std::printf("Act 1: a model of %s answers, from a coordinator and a worker\n",
              flags.model.c_str());
  PrivateServer server(ServerOptions(flags, {.num_gpu_blocks_override = kPoolBlocks}));
  ASSIGN_OR_RETURN(const std::string address, server.WaitUntilServing());
  ASSIGN_OR_RETURN(const auto client, Client::Connect(address, absl::Seconds(10)));
  RETURN_IF_ERROR(AskAll(flags, client.get(), questions, true));
  RETURN_IF_ERROR(AskAtOnce(client.get(), questions));
  return server.End();
}

// The longest of the answers, streamed; in its middle the worker of rank 1 is killed.
absl::Status KillInTheMiddle(PrivateServer* server,
                             Client* client,
                             const std::vector<Question>& questions) {
  const Question& question = *std::max_element(
      questions.begin(),
      questions.end(),
      [](const Question& a, const Question& b) { return a.max_tokens < b.max_tokens; });
  ASSIGN_OR_RETURN(const Completion whole, client->Generate(Greedy(question)));
  std::printf("\n> %s\n", question.Spoken().c_str());
  const pid_t worker = server->WorkerPid(1);
  bool killed = false;
  absl::Time last = RealClock()->Now();
  absl::Duration gap;
  ASSIGN_OR_RETURN(const Completion cut,
                   client->Generate(Greedy(question), [&](const Delta& delta) {
                     const absl::Time now = RealClock()->Now();
                     if (killed) gap = std::max(gap, now - last);
                     last = now;
                     Show(delta.text);
                     if (killed || delta.token_offset < whole.completion_tokens / 2) return;
                     killed = worker > 0 && kill(worker, SIGKILL) == 0;
                     Show(" [the worker of rank 1 is killed] ");
                   }));
  std::printf("\n");
  if (!killed) return absl::InternalError("no worker was killed in the middle of the answer");
  if (cut.choices[0].text != whole.choices[0].text) {
    return absl::DataLossError("the text went on in another way than without the death");
  }
  std::printf("\nthe text went on after %.2f s, with the same bytes\n", absl::ToDoubleSeconds(gap));
  return absl::OkStatus();
}

absl::Status ActTwo(const DemoFlags& flags, const std::vector<Question>& questions) {
  std::printf("\nAct 2: two workers divide the model, and one is lost\n");
  PrivateServer server(ServerOptions(flags, {.tensor_parallel_size = 2}));
  ASSIGN_OR_RETURN(const std::string address, server.WaitUntilServing());
  ASSIGN_OR_RETURN(const auto client, Client::Connect(address, absl::Seconds(10)));
  RETURN_IF_ERROR(AskAll(flags, client.get(), questions, false));
  RETURN_IF_ERROR(KillInTheMiddle(&server, client.get(), questions));
  return server.End();
}

absl::Status Acts(const DemoFlags& flags) {
  ASSIGN_OR_RETURN(const std::vector<Question> questions, ReadQuestions(flags.model));
  if (questions.empty()) return absl::InvalidArgumentError("questions.json holds no question");
  RETURN_IF_ERROR(ActOne(flags, questions));
  return ActTwo(flags, questions);
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
  const absl::Status status = Acts(flags);
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
