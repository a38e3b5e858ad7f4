# SPDX-License-Identifier: MIT
#
# gnuplot -e "data='kmers.data'" plot.gp: seconds of each program by input, from what kmers.py --data wrote.
set terminal svg noenhanced size 900,400 font "sans-serif,12" background "white"
set output "kmers.svg"
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.8 border -1
set ylabel "seconds, best of the rounds"
set yrange [0:*]
set key outside bottom center horizontal
set grid y
set datafile columnheaders
stats data using 2 nooutput
plot for [i = 0 : STATS_blocks - 1] data index i using 2:xtic(1) title columnheader(1)
