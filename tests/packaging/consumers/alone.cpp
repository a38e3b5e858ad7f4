// SPDX-License-Identifier: MIT
//
// A program that does not use the library: what its compilation is told, ours may be told too.
int main() { return 0; }
