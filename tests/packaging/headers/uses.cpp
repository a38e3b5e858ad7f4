// SPDX-License-Identifier: MIT
//
// What programs make of the headers' templates, behind an include of each header: classes whole, calls of what is a
// template itself, and the README's programs.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

template class scratch::CountTable<std::uint16_t>;
template class scratch::CountTable<std::uint32_t>;
template class scratch::CountTable<std::uint64_t>;
template class scratch::CountTable<scratch::Key128>;
template class scratch::CountAdder<std::uint16_t>;
template class scratch::CountAdder<std::uint64_t>;
template class scratch::CountAdder<scratch::Key128>;
template class scratch::CountReader<std::uint16_t>;
template class scratch::CountReader<std::uint32_t>;
template class scratch::CountReader<std::uint64_t>;
template class scratch::CountReader<scratch::Key128>;
template class scratch::JoinedCounts<std::uint64_t>;
template class scratch::SessionDir<>;
template class scratch::SessionDir<scratch::Under, scratch::Durable, scratch::PosixIo, scratch::KeepOnFailure,
                                   scratch::NamedByUuid>;
template class scratch::SessionSet<scratch::AnyPlace, scratch::KeepUnlessCompleted>;

template <scratch::CountKey Key>
std::uint64_t count_keys(const scratch::Workspace& where, const std::vector<Key>& keys) {
  scratch::CountTable<Key> table(where, "given");
  for (const Key& key : keys) table.add(key, 2);
  std::uint64_t sum = table.get(keys.front());
  table.drain([&](std::span<const scratch::Count<Key>> counts, unsigned) { sum += counts.size(); });
  scratch::merge_all<Key>(where, "all", {"a", "b"}, {.threads = 2});
  const scratch::CountReader<Key> a(where, "a"), b(where, "b");
  for (const auto& [key, count] : a.at_least(2)) sum += count + b.get(key);
  for (const auto& [key, in_a, in_b] : scratch::joined(a, b)) sum += in_a + in_b;
  return sum;
}
template std::uint64_t count_keys(const scratch::Workspace&, const std::vector<std::uint16_t>&);
template std::uint64_t count_keys(const scratch::Workspace&, const std::vector<std::uint32_t>&);
template std::uint64_t count_keys(const scratch::Workspace&, const std::vector<std::uint64_t>&);
template std::uint64_t count_keys(const scratch::Workspace&, const std::vector<scratch::Key128>&);

inline std::uint64_t look_at_sessions(const scratch::AnyPlace& place, const std::string& id) {
  const scratch::SessionDir session = scratch::adopt(place, id);
  const scratch::SessionSet set = scratch::adopt_set(std::vector{place}, id);
  scratch::IoPlan plan;
  plan.fail({});
  scratch::sweep(place);
  std::uint64_t chunks = scratch::unfinished(place, "label") ? 1 : 0;
  for (const scratch::SessionInfo& info : scratch::list_sessions(place))
    chunks += scratch::SessionView(info.path).chunks().size();
  return chunks;
}

#define main first
#include "first.cpp"
#undef main
#include "tour.cpp"
