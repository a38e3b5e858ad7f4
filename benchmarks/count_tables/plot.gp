# SPDX-License-Identifier: MIT
#
# gnuplot -e "data='count_tables.data'" plot.gp: the cost of an add, by budget and by size, from what
# count_tables --long --data wrote.
set terminal svg size 960,400 font "sans-serif,12" background "white"
set output "count_tables.svg"
set multiplot layout 1,2
set yrange [0:*]
set key bottom right
set grid y

set logscale x 2
set format x "%.0b %BB"
set xlabel "memory"
set ylabel "processor time, ns an add"
plot data index "budgets, 20 M adds of 4 M keys" using 1:4 with linespoints pt 7 title "20 M adds of 4 M keys", \
  data index "budgets, 100 M adds of 20 M keys" using 1:4 with linespoints pt 7 title "100 M adds of 20 M keys", \
  data index "budgets, 100 M keys, once each" using 1:4 with linespoints pt 7 title "100 M keys, once each"

set logscale x 10
set format x "10^{%L}"
set xlabel "adds, each key five times"
plot data index "growth, per add" using 2:($1 == 67108864 ? $4 : NaN) with linespoints pt 7 title "64 MiB", \
  data index "growth, per add" using 2:($1 == 16777216 ? $4 : NaN) with points pt 9 title "16 MiB"
unset multiplot
