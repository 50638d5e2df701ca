// A completion as one JSON object, in the shape of OpenAI's completions.
#pragma once

#include <string>

#include "client/cpp/client.h"

namespace pagoda {

// On one line. Beyond OpenAI's: choices[].token_ids, which include the stop token, and the seed.
std::string CompletionJson(const Completion& completion, bool with_logprobs);

}  // namespace pagoda
