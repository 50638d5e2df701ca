// The bundled model's tokenizer against Hugging Face's own results
// (tests/golden/oracle/demo_tokenizer.json).
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "coordinator/text/detokenizer.h"
#include "coordinator/text/output_text.h"
#include "gtest/gtest.h"
#include "tests/coordinator/text/fixtures.h"

namespace pagoda::testing {
namespace {

using Ids = std::vector<int32_t>;

nlohmann::json Golden() {
  std::ifstream file("tests/golden/oracle/demo_tokenizer.json");
  return nlohmann::json::parse(file);
}

// One id at a time through the whole stage.
std::string Streamed(const Tokenizer& tokenizer, const Ids& ids, bool skip) {
  TextStream stream(tokenizer, skip, {});
  std::string text;
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto delta = stream.Append(static_cast<int64_t>(i), std::span(ids).subspan(i, 1));
    EXPECT_TRUE(delta.ok()) << delta.status();
    text += delta->text;
  }
  return text + stream.Finish()->text;
}

TEST(TokenizerGoldenTest, PromptsHaveHuggingFacesIds) {
  const auto tokenizer = DemoTokenizer();
  const nlohmann::json golden = Golden();
  ASSERT_GT(golden["texts"].size(), 200u);
  for (const auto& c : golden["texts"]) {
    const auto ids = tokenizer->Encode(c["text"].get<std::string>());
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, c["ids"].get<Ids>()) << c["text"];
  }
}

TEST(TokenizerGoldenTest, IdsHaveHuggingFacesTextAtOnceAndStreamed) {
  const auto tokenizer = DemoTokenizer();
  const nlohmann::json golden = Golden();
  ASSERT_GT(golden["ids"].size(), 100u);
  for (const char* list : {"texts", "ids"}) {
    for (const auto& c : golden[list]) {
      const Ids ids = c["ids"].get<Ids>();
      for (const bool skip : {true, false}) {
        const std::string expected = c[skip ? "decoded" : "decoded_with_special"];
        EXPECT_EQ(*tokenizer->Decode(ids, skip), expected) << c["ids"];
        EXPECT_EQ(Streamed(*tokenizer, ids, skip), expected) << c["ids"];
      }
    }
  }
}

}  // namespace
}  // namespace pagoda::testing
