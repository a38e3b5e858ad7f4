// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Whether a file consists of whole records.
#pragma once

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

/// Returns when the file is a plain one of ours and its size a multiple of `record_size`; 0 records will do. O(1): what
/// is in the records is not looked at.
///
/// @throws Error `corrupt`, naming what is wrong; ENOENT; EINVAL for records of no size
inline void check_records(Workspace workspace, std::string_view name, std::uint64_t record_size) {
  detail::check_file_name(name, "check the records of");
  const std::filesystem::path path = workspace.path() / name;
  if (record_size == 0) detail::throw_error(EINVAL, "check the records of", path, "a record has at least one byte");
  const detail::Directory& directory = detail::directory_of(workspace);
  directory.check();
  const detail::Fd file = detail::open_existing(directory.fd(), std::string(name).c_str(), O_RDONLY, path);
  const auto size = static_cast<std::uint64_t>(detail::facts_of(file.get(), path).st_size);
  if (size % record_size != 0)
    detail::throw_error(errc::corrupt, "check the records of", path,
                        std::to_string(size) + " bytes are " + std::to_string(size / record_size) + " records of " +
                            std::to_string(record_size) + " bytes and " + std::to_string(size % record_size) +
                            " bytes more: the last record is cut off, or its size is another");
}

}  // namespace scratch::inline SCRATCH_ABI
