#include "client/cli/private_server.h"

#include <utility>

namespace pagoda {

PrivateServer::PrivateServer(Supervisor::Options options)
    : supervisor_(std::move(options)), thread_([this] { result_ = supervisor_.Run(); }) {}

PrivateServer::~PrivateServer() { End().IgnoreError(); }

absl::Status PrivateServer::End() {
  if (thread_.joinable()) {
    supervisor_.Stop();
    thread_.join();
  }
  return result_;
}

}  // namespace pagoda
