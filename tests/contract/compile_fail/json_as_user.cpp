// SPDX-License-Identifier: MIT
// expect: no matching
#include <scratch/session_dir.hpp>
#include <scratch/session_json.hpp>

void say(scratch::OwnedSession& session) {
  const nlohmann::json object{{"table", "customer"}};
#if defined(RIGHT)
  session.user(R"({"table":"customer"})");
  scratch::user(session, object);
#else
  session.user(object);
#endif
}
