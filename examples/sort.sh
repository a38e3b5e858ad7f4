# SPDX-License-Identifier: MIT
external_sort sort --lines --to-file -o sorted.txt words.txt more        # as LC_ALL=C sort; more is a directory
external_sort sort --lines -r -u --to-file -o unique.gz - <words.txt     # the last one first, each once, compressed
external_sort sort --record 64 --key 8:16 --memory 1GiB --place disk1 --place disk2 -o sorted records
external_sort check --record 64 --key 8:16 sorted                        # sorted/part_0000, part_0001, ...
