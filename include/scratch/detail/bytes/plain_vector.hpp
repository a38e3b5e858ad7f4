// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// A vector of values that are nothing but their bytes.
#pragma once

#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Like `std::vector`, save that new elements are not initialised unless that is asked for, and that it is moved, not
/// copied. Takes a fraction of its time to compile.
template <class T>
class PlainVector {
 public:
  PlainVector() = default;
  PlainVector(std::size_t n, const T& value) { assign(n, value); }
  PlainVector(std::initializer_list<T> values) {
    for (const T& value : values) push_back(value);
  }
  PlainVector(const PlainVector&) = delete;
  PlainVector& operator=(const PlainVector&) = delete;
  PlainVector(PlainVector&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  PlainVector& operator=(PlainVector&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~PlainVector() { ::operator delete(data_); }

  bool empty() const noexcept { return size_ == 0; }
  std::size_t size() const noexcept { return size_; }
  T* data() noexcept { return data_; }
  const T* data() const noexcept { return data_; }
  T* begin() noexcept { return data_; }
  const T* begin() const noexcept { return data_; }
  T* end() noexcept { return data_ + size_; }
  const T* end() const noexcept { return data_ + size_; }
  T& operator[](std::size_t i) noexcept { return data_[i]; }
  const T& operator[](std::size_t i) const noexcept { return data_[i]; }
  T& back() noexcept { return data_[size_ - 1]; }
  const T& back() const noexcept { return data_[size_ - 1]; }
  std::span<const T> first(std::size_t n) const noexcept { return {data_, n}; }
  std::span<const T> all() const noexcept { return {data_, size_}; }

  void clear() noexcept { size_ = 0; }
  void reserve(std::size_t n) {
    if (n > capacity_) reallocate(n);
  }
  /// New elements have any value.
  void resize(std::size_t n) {
    if (n > capacity_) reallocate(n > 2 * size_ ? n : 2 * size_);
    size_ = n;
  }
  void assign(std::size_t n, const T& value) {
    resize(n);
    for (T& element : *this) element = value;
  }
  void push_back(const T& value) {
    const T copy = value;
    resize(size_ + 1);
    data_[size_ - 1] = copy;
  }
  void pop_back() noexcept { --size_; }
  void append(std::span<const T> values) {
    const std::size_t before = size_;
    resize(before + values.size());
    if (!values.empty()) std::memcpy(static_cast<void*>(data_ + before), values.data(), values.size() * sizeof(T));
  }
  void erase_front(std::size_t n) noexcept {
    if (n > 0 && n < size_) std::memmove(static_cast<void*>(data_), data_ + n, (size_ - n) * sizeof(T));
    size_ -= n;
  }

 private:
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

  [[gnu::noinline]] void reallocate(std::size_t n) {
    T* const larger = static_cast<T*>(::operator new(n * sizeof(T)));
    if (size_ > 0) std::memcpy(static_cast<void*>(larger), data_, size_ * sizeof(T));
    ::operator delete(data_);
    data_ = larger;
    capacity_ = n;
  }

  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
